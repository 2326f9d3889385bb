"""Tokenize informal text into sentences of normalized tokens.

Case, accents, Unicode forms, look-alike letters, apostrophes, number words and repeated letters
("paaain") are normalized. Commas, brackets, dashes and line ends are not tokens; they are kept as
flags, so that a phrase matches across them and a negation can end at them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

__all__ = ["TokenSentence", "flatten", "plain_tokens", "sentences", "word_set"]


def word_set(text: str) -> frozenset[str]:
    """Return the set of the space-separated words of a text."""
    return frozenset(text.split())


_LOOKALIKES = str.maketrans("аеорсухіԁјѕһαοι", "aeopcyxidjshaoi")
_SHORT = (
    (re.compile(r"\by\s*/\s*o\b"), " yo "),
    (re.compile(r"\bw/o\b"), " without "),
    (re.compile(r"\bw/(?=\s|\w)"), " with "),
    (re.compile(r"\bc/o\b"), " complains of "),
    (re.compile(r"\bh/o\b"), " history of "),
    (re.compile(r"\b1st\b"), "first"),
    (re.compile(r"\b2nd\b"), "second"),
    (re.compile(r"\b3rd\b"), "third"),
    (re.compile(r"(?<=[^\W\d_])/(?=[^\W\d_])"), " or "),
    (re.compile(r"[&+]"), " and "),
)
_APOSTROPHES = re.compile(r"(?<=\w)['’‘ʼ`´](?=\w)")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")
_PIECE = re.compile(
    r"(?P<number>\d{1,9}(?:[.,]\d{1,3})?)|(?P<word>[^\W\d_]+)"
    r"|(?P<end>[.!?;。！？]|\n\s*\n)|(?P<pause>[,:()\[\]\n–—•*|]|\s-+\s)"
)
_LONGEST_WORD = 40
_NUMBER_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen twenty"""
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())}
_NUMBERS |= {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70"}
_NUMBERS |= {"eighty": "80"}
_BEFORE_NOT = word_set("can could do does did is are was were has have had will would should")
_UNABLE = (
    ("unable",),
    *((no, "able") for no in ("not", "isnt", "arent", "wasnt", "aint", "never")),
    *((no, "been", "able") for no in ("not", "havent", "hasnt", "hadnt", "never")),
)
_CONTRACTED = {"can": "cant", "will": "wont"}


@dataclass(frozen=True)
class TokenSentence:
    """A tokenized sentence.

    Attributes:
        tokens: Normalized words and numbers, in the form that phrases use.
        shown: The same tokens as the text has them, in lower case.
        pauses: For each token, whether a comma, bracket, dash or line end precedes it.
        asks: Whether the sentence ends with a question mark.
        written: The original sentence with its punctuation; empty if it could not be aligned.
    """

    tokens: tuple[str, ...]
    shown: tuple[str, ...]
    pauses: tuple[bool, ...]
    asks: bool = False
    written: str = ""


def sentences(text: str) -> list[TokenSentence]:
    """Split a text into tokenized sentences, without those that have no word or number.

    "I can not breathe, help!" gives one sentence with the tokens ``("i", "cant", "breathe",
    "help")`` and a pause before "help".
    """
    found: list[TokenSentence] = []
    words: list[str] = []
    pauses: list[bool] = []
    pause = False
    for piece in _PIECE.finditer(flatten(text)):
        if piece.lastgroup == "end":
            _close(found, words, pauses, asks=piece.group() in "?？")
            words, pauses, pause = [], [], False
        elif piece.lastgroup == "pause":
            pause = bool(words)
        else:
            words.append(piece.group()[:_LONGEST_WORD])
            pauses.append(pause)
            pause = False
    _close(found, words, pauses, asks=False)
    written = _written(text)
    if len(written) != len(found):  # e.g. "&" became a word, so the two splits differ
        return found
    return [replace(one, written=said) for one, said in zip(found, written, strict=True)]


def _written(text: str) -> list[str]:
    """Return the original text of each sentence of `sentences`."""
    found, start, words = [], 0, False
    for piece in _PIECE.finditer(text):
        if piece.lastgroup == "end":
            if words:
                found.append(text[start : piece.end()].strip())
            start, words = piece.end(), False
        elif piece.lastgroup != "pause":
            words = True
    return [*found, text[start:].strip()] if words else found


def plain_tokens(text: str) -> tuple[str, ...]:
    """Return the tokens of a short phrase, with its sentences joined."""
    return tuple(token for sentence in sentences(text) for token in sentence.tokens)


def flatten(text: str) -> str:
    """Normalize a text: lower case, no accents or apostrophes, no look-alike or repeated letters.

    "I’m in SO much paaain" becomes "im in so much pain".
    """
    plain = text.lower() if text.isascii() else _folded(text)
    for pattern, replacement in _SHORT:
        plain = pattern.sub(replacement, plain)
    return _DRAWN_OUT.sub(r"\1", _APOSTROPHES.sub("", plain))


def _folded(text: str) -> str:
    """Return a text in lower case, without accents, look-alikes and invisible characters."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Cf", "Cs"))
    return unicodedata.normalize("NFKC", plain).translate(_LOOKALIKES)


def _inability(tokens: list[str]) -> int:
    """Return the number of tokens before "to" that mean "cannot", such as "not able"."""
    for said in _UNABLE:
        if tuple(tokens[-len(said) :]) == said:
            return len(said)
    return 0


def _close(found: list[TokenSentence], words: list[str], pauses: list[bool], *, asks: bool) -> None:
    if not words:
        return
    tokens: list[str] = []
    shown: list[str] = []
    kept: list[bool] = []
    for word, pause in zip(words, pauses, strict=True):
        if word == "not" and tokens and tokens[-1] in _BEFORE_NOT and not pause:
            tokens[-1] = _CONTRACTED.get(tokens[-1], tokens[-1] + "nt")
            shown[-1] += " not"
            continue
        if word == "to" and (length := _inability(tokens)):
            tokens[-length:] = ["cant"]
            shown[-length:] = [" ".join([*shown[-length:], word])]
            kept[-length:] = kept[-length : len(kept) - length + 1]
            continue
        token = "cant" if word == "cannot" else _NUMBERS.get(word, word).replace(",", ".")
        tokens.append(token)
        shown.append(word)
        kept.append(pause)
    found.append(TokenSentence(tuple(tokens), tuple(shown), tuple(kept), asks))
