"""Yes/no questions generated from statements in abstracts, as additional training data.

A sentence from the conclusion or the results becomes a question: "X is associated with Y." becomes
"Is X associated with Y?". The answer is yes if the sentence is affirmative, and no if it is negated
("X was not associated with Y"). Since negations are rare, every other affirmative sentence that has
a word with an opposite is reversed ("Is X lower in Y?"), with the answer no. PubMedQA's artificial
set (Jin et al. 2019, https://arxiv.org/abs/1909.06146, section 3.4) does the same with titles. The
rules here are simple and use no parser, so some questions are ungrammatical.

Only abstracts of the training split are read, and prompts never show the conclusion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from galenic.data.example import Example
from galenic.data.rows import parse_row

__all__ = ["artificial_questions", "parse_with_conclusion", "turn_sentence"]

CONCLUSION = "conclusion"
MOST = 6
"""Maximum number of questions per abstract."""
LONGEST_SUBJECT, SHORTEST, LONGEST = 16, 5, 32
"""Maximum length of the subject; minimum and maximum length of the question; in words."""

_AUXILIARIES = {
    "is": "Is", "was": "Is", "are": "Are", "were": "Are", "can": "Can", "could": "Could",
    "may": "May", "might": "Might", "should": "Should", "will": "Will", "would": "Would",
    "does": "Does", "do": "Do", "did": "Does", "has": "Has", "have": "Have", "had": "Has",
}  # fmt: skip
_HAVING = {"has": "Does", "have": "Do", "had": "Does"}
_VERBS = (
    "improve", "reduce", "increase", "decrease", "affect", "influence", "predict", "correlate",
    "differ", "provide", "cause", "contribute", "depend", "play", "reflect", "offer", "represent",
    "require", "appear", "enhance", "prevent", "remain", "result", "seem", "lead", "produce",
    "allow", "support", "facilitate", "lower", "impair", "protect", "vary",
)  # fmt: skip
_FORMS = {
    form: verb for verb in _VERBS for form in (verb, f"{verb}s", f"{verb.removesuffix('e')}ed")
} | {"varies": "vary", "varied": "vary", "led": "lead"}
_OPPOSITES = (
    ("increase", "decrease"), ("increased", "decreased"), ("increases", "decreases"),
    ("higher", "lower"), ("more", "less"), ("better", "worse"), ("greater", "smaller"),
    ("longer", "shorter"), ("improve", "worsen"), ("improved", "worsened"), ("safe", "unsafe"),
    ("effective", "ineffective"), ("high", "low"), ("positive", "negative"), ("useful", "useless"),
    ("positively", "negatively"), ("common", "rare"), ("reduce", "increase"),
    ("reduced", "increased"), ("feasible", "impossible"), ("similar", "different"),
    ("necessary", "unnecessary"), ("reliable", "unreliable"), ("early", "late"), ("good", "poor"),
    ("fewer", "more"), ("beneficial", "harmful"), ("faster", "slower"), ("superior", "inferior"),
)  # fmt: skip
_OPPOSITE = {b: a for a, b in reversed(_OPPOSITES)} | dict(_OPPOSITES)
_LEAD_IN = re.compile(
    r"^[^,;]{0,90}?\b(?:suggest|indicate|show|demonstrate|conclude|confirm|reveal|find|found|"
    r"support|believe|observe|imply|propose)\w*\s+(?:evidence\s+)?that\s+|"
    r"^(?:in conclusion|in summary|conclusions?|therefore|thus|however|moreover|furthermore|"
    r"overall|finally|in addition|additionally|in contrast|hence|interestingly),?:?\s+",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r";.*|,? (?:but|although|whereas|while|even though|however|because|since|which|suggesting)\b.*|"
    r",\s*(?:and|with|indicating|respectively)\b.*"
)
_BRACKETS = re.compile(r"\s*[(\[][^()\[\]]*[)\]]")
_PARTICIPLE = re.compile(r"(?:ed|en|wn)$")
_SENTENCE = re.compile(r"(?<=[a-z0-9)%])[.?!]\s+(?=[A-Z])")
_NUMBER = re.compile(r"(?<![\w-])\d+(?:\.\d+)?(?![\w-])")
_CLAUSE = {"that", "which", "who", "when", "where", "if", "although", "because", "while", "whether"}
_WE = {"We", "we", "Our", "our", "It", "These", "This", "They"}
_ADVERBS = {"also", "therefore", "thus", "however", "still", "indeed", "only", "then", "further"}


@dataclass(frozen=True)
class ParsedStatement:
    """The parts of a sentence; "opening subject rest?" is the question about it.

    Attributes:
        opening: auxiliary verb that begins the question.
        subject: words before the verb.
        rest: words from the verb on, without auxiliary and negation.
        denied: whether the sentence is negated.
    """

    opening: str
    subject: tuple[str, ...]
    rest: tuple[str, ...]
    denied: bool

    @property
    def question(self) -> str:
        """The sentence as a yes/no question."""
        first, *others = self.subject
        kept = first if any(c.isupper() or c.isdigit() for c in first[1:]) else first.lower()
        return f"{' '.join([self.opening, kept, *others, *self.rest])}?"

    def turned(self) -> ParsedStatement | None:
        """Return the statement with a word replaced by its opposite; None if no word has one."""
        for place, word in enumerate(self.rest):
            if word in _OPPOSITE:
                rest = (*self.rest[:place], _OPPOSITE[word], *self.rest[place + 1 :])
                return replace(self, rest=rest)
        return None


def parse_with_conclusion(row: Mapping[str, Any]) -> Example:
    """Parse a row like `parse_row`, and keep the conclusion in ``meta``, which prompts never show.

    Raises:
        RowError: the row is invalid; names the first rule it breaks.
    """
    example = parse_row(row)
    conclusion = row.get("long_answer")
    text = conclusion if isinstance(conclusion, str) else ""
    return replace(example, meta={**example.meta, CONCLUSION: text})


def artificial_questions(examples: Iterable[Example]) -> tuple[Example, ...]:
    """Generate yes/no questions about the abstracts of the given examples.

    Args:
        examples: from `parse_with_conclusion`; their own questions are not used.
    """
    made: list[Example] = []
    ways = 0
    for example in examples:
        asked: dict[str, str] = {}
        for sentence in _sentences(example):
            statement = turn_sentence(sentence)
            if statement is None:
                continue
            opposite = None if statement.denied else statement.turned()
            if opposite is not None:
                ways += 1
                statement = opposite if ways % 2 else statement
            denied = statement.denied or statement is opposite
            asked.setdefault(statement.question, "no" if denied else "yes")
        made += [
            replace(example, id=f"{example.id}-{number}", question=question, answer=answer)
            for number, (question, answer) in enumerate(list(asked.items())[:MOST])
        ]
    return tuple(made)


def turn_sentence(sentence: str) -> ParsedStatement | None:
    """Parse a sentence into a statement; None if the rules do not apply.

    >>> turn_sentence("Age was not associated with recurrence (p=0.4).").question
    'Is age associated with recurrence?'
    """
    sentence = _clean(sentence)
    words = sentence.split()
    for place, word in enumerate(words[: LONGEST_SUBJECT + 1]):
        if word.lower() in _CLAUSE or word.endswith((",", ":", ".")) or word in _WE:
            return None
        found = _at_verb(words, place) if place else None
        if found is not None:
            size = len(found.subject) + len(found.rest) + 1
            fits = found.rest and SHORTEST <= size <= LONGEST and not _NUMBER.search(sentence)
            return found if fits else None
    return None


def _clean(sentence: str) -> str:
    text = _BRACKETS.sub("", sentence.strip()).rstrip(" .?!")
    for _ in range(2):
        text = _LEAD_IN.sub("", text)
    text = re.split(r"\. [A-Z]", _TAIL.sub("", text))[0].replace("cannot", "can not")
    return text[:1].upper() + text[1:]


def _at_verb(words: list[str], place: int) -> ParsedStatement | None:
    """Split the sentence at the word with this index; None if it is not a known verb."""
    subject, word = tuple(words[:place]), words[place].lower()
    if subject[0].lower() in ("no", "neither"):  # "No drug was ..." asks "Was any drug ...?"
        found = _at_verb(["any", *words[1:]], place)
        return found and replace(found, denied=not found.denied)
    rest = [w for i, w in enumerate(words[place + 1 :]) if i > 0 or w.lower() not in _ADVERBS]
    if not rest:
        return None
    denied = rest[0] in ("not", "no", "neither", "never")
    behind = [*(["any"] if rest[0] == "no" else []), *rest[1:]] if denied else rest
    if word in _HAVING and not (behind and _PARTICIPLE.search(behind[0])):
        return ParsedStatement(_HAVING[word], subject, ("have", *behind), denied)
    if word in _AUXILIARIES:
        return ParsedStatement(_AUXILIARIES[word], subject, tuple(behind), denied)
    plain = _FORMS.get(word)
    if plain is None or (plain == word and not subject[-1].endswith("s")):
        return None
    return ParsedStatement("Do" if plain == word else "Does", subject, (plain, *rest), denied=False)


def _sentences(example: Example) -> list[str]:
    """Sentences of the conclusion, then of the results."""
    found = _SENTENCE.split(str(example.meta.get(CONCLUSION, "")))
    labels = example.meta.get("context_labels") or ()
    paragraphs = (example.context or "").split("\n")
    if len(labels) == len(paragraphs):
        for label, paragraph in zip(labels, paragraphs, strict=True):
            if "RESULT" in str(label).upper() or "FINDING" in str(label).upper():
                found += _SENTENCE.split(paragraph)
    return [sentence for sentence in found if sentence.strip()]
