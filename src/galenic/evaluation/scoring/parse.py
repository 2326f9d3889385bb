"""Parsing of the answer from generated text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["parse_answer"]

ADVERB = (
    r"(?:therefore|thus|hence|then|so|most\s+likely|likely|probably|clearly|definitely|indeed|the)"
)
MODAL = (
    r"(?:is|are|was|be|being|(?:would|should|must|will|may|could)\s+"
    rf"(?:{ADVERB}\s+)?be|(?:seems|appears)\s+to\s+be)"
)
# The classes below never give back what they took (`*+`): long runs of blanks cost nothing.
THING = r"(?:option|choice|letter|answer)"
MARK = r"[\s:：*_=#>→⇒✅✓✔\-–—\"']*+"
ABOUT = r"(?i:\s+(?:to|for|here)\b[^.:\n]{0,60}?)?"
OPENERS = r"(?:\\(?:f?boxed|fbox|text|textbf|mathrm|mathbf)\s*\{|[\s($\[<\"'`{*_“„«‘「『【（])*+"
CLOSERS = r"[)\]*_\"'`$}>”“»’」』】）]*+"
ENDS = r"(?!_*[^\W_\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]|-)"
"""After a label: no letter or digit of its word, but for those written without spaces."""
OR = r"(?:or|and|oder|und|ou|et|o|y|e|или|и|或|和|/|,|&)"
BEST = r"(?:correct|right|best|most\s+(?:likely|appropriate|suitable|plausible))"
_BEFORE = rf"{MARK}(?i:\b{MODAL}\b)?{MARK}(?i:\b{ADVERB}\b\s*+)*+{MARK}(?i:\b{THING}\b)?{MARK}"
MARKERS = (
    rf"(?i:(?<![^\W_])(?:answer(?![^\W_])|ans\b\.?)){ABOUT}{_BEFORE}",
    rf"(?i:\b(?:{BEST}|selected|chosen|final)\s+"
    r"(?:option|choice|letter|response|diagnosis|(?:next\s+)?step|treatment|cause)\b"
    rf"|my(?:\s+final)?\s+choice\b){ABOUT}{_BEFORE}",
    r"(?i:\b(?:I|we)(?:['’](?:d|ll|m|re))?\s+(?:would\s+|will\s+|am\s+|are\s+)?"
    r"(?:choose|pick|select|go(?:ing)?\s+(?:with|for)))\s+"
    rf"(?i:{THING}\b\s*)?",
    rf"(?im:^[^\w\n]*+(?:{BEST}|selected|final|choice|conclusion|decision)\W*[:：]){MARK}",
    r"\\f?box(?:ed)?\s*\{",
    r"(?i:[\"'](?:final|correct|selected|best|predicted)?_?"
    r"(?:answer|choice|option|label|response)(?:_[a-z]+)?[\"']\s*:)\s*",
    r"(?i:(?<![^\W_])(?:antwort|réponse|respuesta|resposta|risposta|antwoord|svar|svaret|odpowied[źz]"
    r"|odpověď|cevap|ответ|відповідь|απάντηση|الإجابة|الجواب|उत्तर))(?![^\W_])"
    r"(?i:\s+(?:correcta|correta|corretta|correcte|exacte|giusta|finale?|juist|rätt|riktig))?"
    rf"{MARK}(?i:\b(?:ist|lautet|est|es|è|é|is|är|er|jest|je|это|είναι|هي|هو|है)\b)?"
    rf"{MARK}(?i:\b(?:la|le|el|il|die|der|das|a|de|den|option|opción|opzione|opção)\b)?{MARK}",
    r"(?:答案|正解|回答|解答|정답|답)\s*(?:应该|應該)?\s*(?:是|为|為|は|은|는|选|選|应为)?\s*(?:选项|選項)?[\s:：]*+",
)
"""Patterns of phrases that precede an answer."""
CHOSEN = r"(?i:\b(?:option|choice))\s+"
PARTLY = r"(?!\s+(?:only|if|when|unless|except|that|about|in|for|as\s+far)\b)"
RIGHT = rf"(?i:\s+is\s+(?:the\s+)?(?:most\s+)?(?:correct|right|best|appropriate)\b){PARTLY}"
THE_RIGHT = (
    r"(?i:\s+is\s+(?:the\s+answer|the\s+(?:(?:single\s+)?best|correct|right|most\s+"
    r"(?:likely|appropriate))\s+(?:answer|option|choice|response|diagnosis|(?:next\s+)?step))\b)"
)
MADE = rf"(?i:\bmak(?:es|ing)\s+(?:{THING}\s+)?)"
AS_BEST = rf"(?i:\s+the\s+(?:single\s+)?{BEST}\b)"
LAST = (
    rf"(?i:\b(?:therefore|thus|hence|so)\b[,:]?\s+(?:{THING}\s+)?"
    r"|\b(?:that\s+)?leav(?:es|ing)\s+(?:us\s+with\s+)?(?:only\s+)?"
    rf"|\bit(?:['’]s|\s+is|\s+must\s+be)\s+(?:{THING}\s+)?|\#{{4}}\s+)"
)
"""Patterns around an answer: "option B is correct", "B is the right answer", "therefore C."."""
NOT_SAID = re.compile(
    r"\b(?:if|unless|whether)\s+(?:the\s+|your\s+)?(?:\w+\s+)?$"
    r"|\b(?:students?|people|others|mistakenly|wrongly|tempt\w+\s+to)\b[^.!?\n]{0,60}$",
    re.IGNORECASE,
)
"""Text before a statement that is supposed, or somebody else's: "if the answer was B"."""
MENTION = re.compile(rf"answer\s+(?:{THING}\s+)?{OPENERS}$", re.IGNORECASE)
TOLD = re.compile(r"\s+(?:is|was|would|could|can|may|might|has|seems)\b", re.IGNORECASE)
"""``The answer B is a common mistake`` names an option; ``the answer B is correct`` chooses it."""
LINKS = frozenset(
    ("so", "thus", "therefore", "hence", "then", "that", "but", "and", "because", "only")
)
"""Words that may stand before a label that begins a statement; "hepatitis" may not."""
GOES_ON = re.compile(
    "is|here|rather|instead|not|because|since|as|due|given|for|it|there|they|this|these|we",
    re.IGNORECASE,
)
"""Words that may follow a label that is an answer: "B because ...", but not "B cells"."""
DENIED = re.compile(r"\s+(?:is|was)\s+(?:not\b|wrong|incorrect|false|excluded)", re.IGNORECASE)
NEXT = re.compile(r"^[^\w\n]*+(?:next\s+)?(?:question|user|human)(?:\s*\d+)?\s*\W*:", re.I | re.M)
"""Start of a further question that the model has made up."""


@dataclass(frozen=True)
class _Reader:
    """Finds the labels of one question in a text.

    Attributes:
        labels: labels of the question.
        texts: option texts by label; empty if unknown.
        one: pattern that matches any label.
        flags: flags of the pattern; letter labels match in upper case only.
    """

    labels: tuple[str, ...]
    texts: Mapping[str, str]
    one: str
    flags: re.RegexFlag

    def statements(self, text: str) -> Iterator[tuple[int, str | None]]:
        """Yield position and label of each statement of an answer; label None if it names two."""
        label = rf"(?P<label>{self.one}){ENDS}"
        other = rf"(?i:not\s+(?:{THING}\s+)?){OPENERS}(?:{self.one}){CLOSERS}"
        but = rf"{other},?\s+(?i:but(?:\s+rather)?)\s+"
        for marker in (*MARKERS, *(f"{marker}{but}(?i:{THING}\\s+)?" for marker in MARKERS[:2])):
            for match in re.finditer(rf"{marker}{OPENERS}{label}", text, self.flags):
                if NOT_SAID.search(text, 0, match.start()) or self._is_mentioned(match, text):
                    continue
                if (found := self.settle(match, text)) is not None:
                    yield match.start("label"), found[0]
        for name, own in self.texts.items():  # "Answer: Iron (D)"
            behind = (
                rf"{re.escape(own)}[^\w.,;]{{0,6}}(?i:{THING}\s+)?(?P<label>{re.escape(name)})\W"
            )
            for match in re.finditer(rf"{MARKERS[0]}{OPENERS}(?i:{behind})", f"{text} "):
                yield match.start("label"), name
        yield from self._praised(text, label)
        if last := re.search(rf"{LAST}{OPENERS}{label}{CLOSERS}[\s.!]*+$", text, self.flags):
            yield last.start("label"), self.known(last.group("label"))

    def _praised(self, text: str, label: str) -> Iterator[tuple[int, str | None]]:
        """Yield statements in which the label comes first: "B is the right answer"."""
        other = label.replace("label", "other")
        praised = (
            rf"{CHOSEN}{OPENERS}{label}{CLOSERS}{RIGHT}|(?<![\w-]){other}{CLOSERS}{THE_RIGHT}"
            rf"|{MADE}{OPENERS}{label.replace('label', 'made')}{CLOSERS}{AS_BEST}"
        )
        for match in re.finditer(praised, text, self.flags):
            name = match.lastgroup or "label"
            before = re.search(r"([^\W\d_]+)[ \t]+$", text[: match.start(name)])
            if name != "other" or before is None or before[1].lower() in LINKS:
                yield match.start(name), self.known(match.group(name))
        alone = rf"(?:^|[.!?;,:\n]\s*+|\b(?i:so|but|and|thus)\s+){OPENERS}{label}{CLOSERS}{RIGHT}"
        found = list(re.finditer(alone, text, self.flags))
        if len({self.known(match.group("label")) for match in found}) == 1:
            yield found[-1].start("label"), self.known(found[-1].group("label"))

    def _is_mentioned(self, match: re.Match[str], text: str) -> bool:
        """Whether "answer B" only names an option, of which more is said."""
        rest = text[match.end("label") :]
        closed = re.match(CLOSERS, rest)
        behind = rest[closed.end() :] if closed else rest
        direct = MENTION.search(text[match.start() : match.start("label")])
        return bool(direct and TOLD.match(behind) and not re.match(RIGHT, behind))

    def settle(self, match: re.Match[str], text: str) -> tuple[str | None] | None:
        """Return (label,) for a match, (None,) if it names two labels, or None if no answer."""
        rest = text[match.end("label") :]
        rival = rf"{CLOSERS}[\s.]*{OR}[\s(*_\"'`$]*(?:{self.one}){ENDS}"
        other = re.match(rival, rest, self.flags)
        if other:
            denied = DENIED.match(rest[other.end() :])
            return (self.known(match.group("label")) if denied else None,)
        label = self.known(match.group("label"))
        if self._is_sentence(label, rest):
            return None
        return (label,)

    def _is_sentence(self, label: str, rest: str) -> bool:
        """Whether a label is just a word ("A patient"), part of a name, or negated."""
        closed = re.match(CLOSERS, rest)
        behind = rest[closed.end() :] if closed else rest
        if DENIED.match(behind) or re.match(r"\?|\.\d", behind):
            return True
        if closed and closed.end():
            return False
        own = self.texts.get(label, "").casefold()
        if own and re.sub(r"^[\s.:]+", "", rest).casefold().startswith(own):
            return False
        if re.match(r"\.[ \t]?[a-z]", rest) and len(label) == 1 and label.isupper():
            return self._is_name(label, rest)  # "E. coli"
        word = re.match(r"[ \t]+([^\W\d_]+|\d+)", rest)
        if word is None or GOES_ON.fullmatch(word.group(1)):
            return False
        return not (word.group(1)[0].isupper() and label.isupper() and label != "A")

    def _is_name(self, label: str, rest: str) -> bool:
        if not self.texts:
            return True
        word = re.match(r"\.\s?\w+", rest)
        begin = f"{label}{word.group() if word else ''}".casefold()
        return any(begin in text.casefold() for text in self.texts.values())

    def bare(self, text: str) -> str | None:
        """Return the label if the text is only a label, or begins with one as in a list."""
        named = rf"{MARK}{OPENERS}(?i:{THING}\b{MARK})?{OPENERS}(?P<label>{self.one}){ENDS}"
        if alone := re.fullmatch(rf"{named}[\s.]*+{CLOSERS}[\s.]*+", text, self.flags):
            return self.known(alone.group("label"))
        first = re.match(rf"{named}(?:[.):,*\]]|[ \t]*\n|[ \t]+[-–—]\s)", text, self.flags)
        begun = rf"^[^\w\n]*+(?:(?i:{THING})\W+)?({self.one})(?:[.):]|[ \t]*$|[ \t]+[-–—]\s)"
        lines = re.finditer(begun, text, self.flags | re.M)
        judged = rf"(?:^|[.;,]\s*+){OPENERS}({self.one}){CLOSERS}:"  # "A: wrong. B: right."
        if first is None or len({line.group(1) for line in lines}) > 1:
            return None
        if len(set(re.findall(judged, text, self.flags))) > 1:
            return None
        found = self.settle(first, text)
        return found[0] if found else None

    def in_lower_case(self, text: str) -> str | None:
        """Return the label of the last line "Answer: b", which ends with it; else None."""
        lines = rf"(?im)\banswer[*_]*[:：]{MARK}{OPENERS}({self.one})(?:{CLOSERS}[ \t.]*$|\)\s)"
        found = re.findall(lines, text)
        return self.known(found[-1]) if found else None

    def known(self, written: str) -> str:
        """Return the question's spelling of a label."""
        return next(k for k in self.labels if k == written or k.lower() == written.lower())


def parse_answer(text: str, labels: Iterable[str]) -> str | None:
    """Return the label that a generated text gives as its answer, or None.

    Text between ``<think>`` and ``</think>`` is ignored, and so is a further question that the
    model makes up with all that follows. Searches, in this order, for the last statement ("Answer:
    X", "the answer is option X", ``\\boxed{X}``, "option X is correct"), for a text that is only a
    label, and for one that begins with "X.", "X," or a line "X" and has no line with another label.
    A label that is a word of a sentence ("A patient") or of a name ("E. coli", "B cells") does not
    count, nor do two different labels after one marker ("A or B"). Letter labels match in upper
    case only (but for a line "Answer: b"), words in any case.

    Args:
        text: the generated text.
        labels: the possible labels; or a mapping from labels to option texts, which are used to
            distinguish names from answers.
    """
    known = tuple(labels)
    one = "|".join(re.escape(label) for label in sorted(known, key=len, reverse=True))
    flags = re.NOFLAG if all(label.isupper() for label in known) else re.IGNORECASE
    reader = _Reader(known, labels if isinstance(labels, Mapping) else {}, one, flags)
    text = re.sub(r"^.*</think>", "", text, flags=re.S)
    text = re.sub(r"<think>.*", "", text, flags=re.S)
    parts = [text[: match.start()] for match in NEXT.finditer(text)]
    for part in [*parts, text]:
        if found := sorted(reader.statements(part), key=lambda pair: pair[0]):
            return found[-1][1]
        if part.strip() and (label := reader.bare(part) or reader.in_lower_case(part)):
            return label
    return None
