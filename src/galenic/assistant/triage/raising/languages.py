"""Handle texts in other languages: detect the language, show a notice, recognize emergencies.

Most languages are detected by script, those in Latin script by frequent words and the library
py3langid (BSD, https://github.com/adbar/py3langid). English is the default: misspelt, abbreviated
or technical English must not be taken for another language. Emergencies are recognized in Spanish,
French and German. The words are data: ``data/languages.yaml``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.rules import Source

__all__ = ["detect", "findings", "notice"]

READ = 2_000
"""Number of characters used for language detection."""
MOST = 40_000
"""Maximum number of characters of a foreign text that are searched for emergencies; half of them
from its beginning, half from its end."""
FOREIGN_SCRIPT = 0.3
"""Share of non-Latin letters from which the script determines the language."""
SURE = 0.75
"""Probability from which py3langid suffices without a known word of the language."""
SEVERAL, LIKELY = 1.5, 0.5
"""If the known words of a language weigh less than the first, py3langid must give the language at
least the second as probability, and a higher one than English."""
TOGETHER = 3
"""Number of adjacent sentences whose concepts are combined."""
SEVERAL_SAID, SEVERAL_GRAVE = 4, 3
"""Number of distinct emergency concepts that form an emergency in any combination: the first if all
of them are everyday words, the second otherwise."""
REACH = 3
"""Number of words before a mention that are searched for a negation."""
CLAUSE = frozenset(
    {",", "und", "aber", "dann", "er", "sie", "wir", "ich", "mein", "meine", "et", "mais", "puis"}
    | {"il", "elle", "je", "j", "on", "mon", "ma", "y", "pero", "mi", "su"}
)
"""Words at which a clause, and so a negation, ends: "er isst nicht und hat Fieber"."""
LIBRARY = (
    "en es fr de pt it pl tr nl ro sv vi cs da nb no fi hu id hr sk tl sw ca so sq et lt lv ms"
)
SOURCE = Source(
    name="Galenic's emergency words in other languages; not reviewed by clinicians",
    url="https://www.who.int/health-topics/emergency-care",
)
SELF_HARM = "suicide"
"""Name of the rule for suicide risk, whose advice names crisis lines."""
_WORD = re.compile(r"[^\W\d_]+|\d+|,")
_SENTENCE = re.compile(r"[.!?;\n¿¡…]+")
_TRANSLATED = str.maketrans({"'": " ", "’": " ", "ß": "ss", "œ": "oe", "ł": "l", "ı": "i"})


@dataclass(frozen=True)
class _Language:
    """Word lists and advice of a language in which emergencies are recognized."""

    name: str
    call: str
    talk: str
    denies: frozenset[str]
    denies_after: frozenset[str]
    still: re.Pattern[str]
    asks: re.Pattern[str]
    past: re.Pattern[str]
    now: re.Pattern[str]
    concepts: Mapping[str, re.Pattern[str]]


@dataclass(frozen=True)
class _Data:
    words: Mapping[str, frozenset[str]]
    scripts: tuple[tuple[str, re.Pattern[str]], ...]
    notices: Mapping[str, str]
    other_notice: str
    rules: Mapping[str, list[list[str]]]
    everyday: frozenset[str]
    languages: Mapping[str, _Language]


def detect(text: str) -> str | None:
    """Return the ISO 639 code of a text's language; None for English and unclear texts."""
    sample = text[:READ]
    letters = [c for c in sample if c.isalpha()]
    other = [c for c in letters if not unicodedata.name(c, "LATIN").startswith("LATIN")]
    if letters and len(other) >= FOREIGN_SCRIPT * len(letters):
        return _by_script("".join(other).casefold())
    tokens = [token for token in _tokens(_no_capitals(sample)) if token.isalpha()]
    return _by_words(tokens, sample) if tokens else None


def notice(text: str) -> str | None:
    """Return a notice in the language of the text that only English is read; None for English."""
    language = detect(text)
    if language is None:
        return None
    data = _data()
    return data.notices.get(language, data.other_notice)


def findings(text: str) -> tuple[Finding, ...]:
    """Return the emergencies found in a Spanish, French or German text."""
    code = detect(text)
    language = _data().languages.get(code or "")
    if language is None:
        return ()
    read = text if len(text) <= MOST else f"{text[: MOST // 2]}\n{text[-MOST // 2 :]}"
    found: dict[str, Finding] = {}
    said = [_said(tokens, language, asked=asked) for tokens, asked in _sentences(read)]
    for at in range(len(said)):
        together: dict[str, str] = {}
        for one in said[at : at + TOGETHER]:
            together = {**one, **together}
        for rule, words in _fired(together):
            found.setdefault(rule, _finding(rule, words, language))
    return tuple(found.values())


def _finding(rule: str, words: tuple[str, ...], language: _Language) -> Finding:
    harm = rule == SELF_HARM
    reason = "what is said of not wanting to live" if harm else "what may be an emergency"
    return Finding(
        id=f"language-{rule}",
        tier="emergency",
        reason=f"Written in {language.name}: it names {reason}.",
        do=language.talk if harm else language.call,
        source=SOURCE,
        words=words,
        layer="languages",
    )


def _by_script(letters: str) -> str:
    for language, pattern in _data().scripts:
        if pattern.search(letters):
            return language
    return "other"


def _no_capitals(text: str) -> str:
    """Remove short words in capitals: abbreviations ("AF", "OD") do not identify a language."""
    return text if text.isupper() else re.sub(r"\b[^\W\d_a-z]{1,4}\b", " ", text)


def _by_words(tokens: list[str], sample: str) -> str | None:
    words = _data().words
    english = words["en"]
    known = {
        language: sum(_weight(t) for t in tokens if t in own and t not in english)
        for language, own in words.items()
        if language != "en"
    }
    most = max(known.values())
    shared = frozenset().union(*(own for name, own in words.items() if name != "en"))
    own_english = sum(t in english and t not in shared and len(t) > 1 for t in tokens)
    if own_english >= most and own_english:
        return None
    if not most and len(tokens) < 2 and sample.isascii():
        return None
    likely = _likely(sample)
    best = max(known, key=lambda name: known[name] + 2 * likely.get(name, 0.0))
    top = max(likely, key=lambda name: likely[name])
    if most:
        doubtful = most < SEVERAL and likely.get(best, 0.0) < max(likely.get("en", 0.0), LIKELY)
        return None if doubtful else best
    return top if top != "en" and likely[top] >= SURE and not own_english else None


def _weight(token: str) -> float:
    """Return the weight of a known word; short ones ("na") may be English abbreviations."""
    return 1.0 if len(token) > 2 else 0.4


def _likely(sample: str) -> dict[str, float]:
    """Return the probability of each language according to py3langid."""
    return {name: float(p) for name, p in _identifier().rank(sample)}


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(set(LIBRARY.split()) & set(identifier.labels))
    return identifier


def _plain(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.casefold().translate(_TRANSLATED))
    return "".join(c for c in parts if not unicodedata.combining(c))


def _tokens(text: str) -> list[str]:
    return _WORD.findall(_plain(text))


def _sentences(text: str) -> Iterator[tuple[list[str], bool]]:
    """Yield the tokens of each sentence and whether it is a question."""
    start = 0
    for end in [*_SENTENCE.finditer(text), None]:
        stop = end.start() if end else len(text)
        if tokens := _tokens(text[start:stop]):
            yield tokens, bool(end and "?" in end.group())
        start = end.end() if end else stop


def _said(tokens: list[str], language: _Language, *, asked: bool) -> dict[str, str]:
    """Return the concepts that a sentence asserts of the present, with their words."""
    line = f" {' '.join(tokens)} "
    if asked and language.asks.match(line):
        return {}
    if language.past.search(line) and not language.now.search(line):
        return {}
    softened = language.still.sub(lambda m: re.sub(r"\w+", "~", m.group()), line)
    said: dict[str, str] = {}
    for concept, pattern in language.concepts.items():
        for mention in pattern.finditer(line):
            if not _denied(mention, softened, language):
                said[concept] = mention.group().strip()
                break
    return said


def _fired(said: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name of each emergency whose conditions are met, with the words that express it."""
    for rule, needed in _data().rules.items():
        chosen = [next((said[one] for one in group if one in said), None) for group in needed]
        words = [word for word in chosen if word is not None]
        if len(words) == len(needed):
            yield rule, tuple(dict.fromkeys(words))
    grave = any(concept not in _data().everyday for concept in said)
    if len(said) >= (SEVERAL_GRAVE if grave else SEVERAL_SAID):
        yield "several", tuple(dict.fromkeys(said.values()))


def _denied(mention: re.Match[str], softened: str, language: _Language) -> bool:
    # masking changes the length of the line: compare word positions, not characters
    before = mention.string[: mention.start()].split()
    after = mention.string[mention.end() :].split()
    masked = softened.split()
    for at in range(len(before) - 1, max(-1, len(before) - 1 - REACH), -1):
        if before[at] in CLAUSE:
            break
        if masked[at] in language.denies:
            return True
    following = masked[len(masked) - len(after) : len(masked) - len(after) + 1]
    return bool(following) and following[0] in language.denies_after


def _compiled(phrases: list[str], *, start: bool = False) -> re.Pattern[str]:
    if not phrases:
        return re.compile(r"(?!)")
    made = "|".join(_phrase(phrase) for phrase in sorted(phrases, key=len, reverse=True))
    return re.compile(rf"{'^ ?' if start else '(?<= )'}(?:{made})(?= )")


def _phrase(phrase: str) -> str:
    parts = []
    for word in _plain(phrase).split():
        if word == "..":
            parts.append(r"(?:[^ ]+ ){0,3}")
        else:
            parts.append(re.escape(word).replace(r"\*", r"\w*") + " ")
    return "".join(parts).rstrip()


@cache
def _data() -> _Data:
    text = files("galenic.assistant.triage").joinpath("data/languages.yaml").read_text("utf-8")
    read = yaml.safe_load(text)
    emergencies = read["emergencies"]
    rules, everyday = emergencies.pop("rules"), emergencies.pop("everyday")
    return _Data(
        words={name: frozenset(words.split()) for name, words in read["words"].items()},
        scripts=tuple(
            (one["language"], re.compile(f"[{one['letters']}]")) for one in read["scripts"]
        ),
        notices=read["notices"],
        other_notice=read["other_notice"],
        rules=rules,
        everyday=frozenset(everyday),
        languages={code: _language(known) for code, known in emergencies.items()},
    )


def _language(known: dict[str, Any]) -> _Language:
    told = {"name", "call", "talk", "not", "not_after", "still", "asks", "past", "now"}
    return _Language(
        name=known["name"],
        call=known["call"],
        talk=known["talk"],
        denies=frozenset(known["not"]),
        denies_after=frozenset(known["not_after"]),
        still=_compiled(known["still"]),
        asks=_compiled(known["asks"], start=True),
        past=_compiled(known["past"]),
        now=_compiled(known["now"]),
        concepts={name: _compiled(said) for name, said in known.items() if name not in told},
    )
