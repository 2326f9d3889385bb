"""Rule-based textual entailment: whether a sentence of a source supports a claim.

A claim is accepted if it is the source, or one clause of it, nearly word for word: the same words
in an equivalent order (`forms`), up to inflection, articles, possessives and a few words of one
meaning. All else is compared where it stands: negations, modal verbs, quantifiers, numbers,
conditions and prepositions, since moving or changing one of them changes what is said. The check
favours precision over recall: true paraphrases in other words are rejected (results/answers.md).
"""

from __future__ import annotations

import re

from galenic.assistant.answer.forms import clauses, forms
from galenic.assistant.triage.words.wording import sentences, word_set
from galenic.retrieval.query import stem

__all__ = ["entails", "refusal"]

_SAME = (
    "about around roughly approximately", "adult grownup", "am are be been being is was were",
    "baby babies infant", "begin start began", "better improve heal recover", "can could",
    "may might", "cannot cant", "child children kid", "common frequent", "doctor gp physician",
    "drowsy sleepy", "ease relieve soothe", "feet foot", "generally normally typically usually",
    "give given gave", "has have had", "if when", "keep kept", "made make making",
    "man men", "medication medicine", "mostly most", "need require", "pill tablet",
    "call ring phone", "swell swollen", "take taken took", "teeth tooth", "vaccine jab",
    "wear worn", "woman women", "immediately urgently",
)  # fmt: skip
"""Groups of words that may stand for each other. A word in several groups belongs to the first."""
_CANON = {stem(word): group.split()[0] for group in reversed(_SAME) for word in group.split()}
_FULL = {
    "dont": "not", "doesnt": "not", "didnt": "not", "isnt": "is not", "arent": "is not",
    "wasnt": "is not", "wont": "will not", "shouldnt": "should not", "mustnt": "must not",
    "hasnt": "has not", "havent": "has not",
}  # fmt: skip
_DROPPED = word_set("""
a an the do does did to and between also please get gets getting that which who this these those
your yours his her hers their theirs its our my
""")
"""Words that a claim may add, leave out or exchange: no other words, however short."""
_FEW = re.compile(r"\ba (few|little)\b", re.I)
_IT_IS = re.compile(r"\b(it|that|there)['’]s\b", re.I)
_ADVISED = re.compile(r"\b(?:you should|it is (?:best|important) to)\b", re.I)
"""What turns "rest" into "you should rest"."""
_WITH = re.compile(r"\b(?:who|that|which) (?:have|has)\b", re.I)
_SAFE = re.compile(
    r"\b(safe|safely|fine|ok|okay|allowed|harmless|no risk|no danger|recommended|suitable|may|can)"
    r"\b",
    re.I,
)
_WHO = re.compile(
    r"\b(pregnan\w*|breast-?feed\w*|unborn|child\w*|bab(?:y|ies)|infants?|toddlers?|with|together)\b",
    re.I,
)


def entails(source: str, claim: str) -> bool:
    """Check whether a source sentence entails a claim.

    "Rest and plenty of fluids help most people" does not entail "Rest cures everyone".

    Args:
        source: a sentence of a source.
        claim: a sentence that a model wrote.
    """
    claimed = forms(_spelt_out(claim), _words) - {()}
    return any(claimed & forms(clause, _words) for clause in clauses(_spelt_out(source)))


def refusal(question: str, claim: str) -> bool:
    """Check whether a claim calls something safe in pregnancy, for children or with medicines.

    Such claims are never shown, unless they advise to ask or check.

    Args:
        question: the user's question.
        claim: a sentence that a model wrote.
    """
    about = _WHO.search(question) or _WHO.search(claim)
    return bool(about and _SAFE.search(claim) and not re.search(r"\bask\b|\bcheck\b", claim, re.I))


def _spelt_out(sentence: str) -> str:
    """Return a sentence without short forms; "you should rest" becomes "rest"."""
    full = _WITH.sub("with", _IT_IS.sub(r"\1 is", sentence))
    return _ADVISED.sub("", _FEW.sub(r"a\1", full))


def _words(sentence: str) -> list[str]:
    """Return the words that are compared, in order; one form for each group of `_SAME`."""
    tokens = [token for one in sentences(sentence) for token in one.tokens]
    full = [word for token in tokens for word in _FULL.get(token, token).split()]
    stems = [stem(word) for word in full if word not in _DROPPED]
    return [_CANON.get(one, one) for one in stems]
