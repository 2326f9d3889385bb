"""Text in a person's own words, cut into sentences of plain tokens.

Case, accents, Unicode form, look-alike letters, apostrophes, number words and drawn-out letters
("paaain") do not count. Commas, brackets, dashes and line ends are kept beside the tokens, so that
a phrase is found across them and a negation can stop at them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

__all__ = ["TokenSentence", "flatten", "plain_tokens", "sentences", "word_set"]


def word_set(text: str) -> frozenset[str]:
    """The words of a text, separated by spaces."""
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
    """One sentence.

    Attributes:
        tokens: words and numbers in the form that phrases are written in.
        shown: the same as the text has them, in lower case.
        pauses: for each token, whether a comma, bracket, dash or line end stands before it.
        asks: the sentence ends in a question mark.
        written: the sentence as the text has it, with its signs; empty where that is not known.
    """

    tokens: tuple[str, ...]
    shown: tuple[str, ...]
    pauses: tuple[bool, ...]
    asks: bool = False
    written: str = ""


def sentences(text: str) -> list[TokenSentence]:
    """All sentences that have a word or a number."""
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
    if len(written) != len(found):  # signs that become words, as "&"
        return found
    return [replace(one, written=said) for one, said in zip(found, written, strict=True)]


def _written(text: str) -> list[str]:
    """The same sentences as they stand in the text."""
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
    """The tokens of a short phrase, all sentences in one."""
    return tuple(token for sentence in sentences(text) for token in sentence.tokens)


def flatten(text: str) -> str:
    """In lower case, without accents, odd forms of letters, or letters that are drawn out."""
    plain = text.lower() if text.isascii() else _folded(text)
    for pattern, replacement in _SHORT:
        plain = pattern.sub(replacement, plain)
    return _DRAWN_OUT.sub(r"\1", _APOSTROPHES.sub("", plain))


def _folded(text: str) -> str:
    """Without accents, odd forms of letters, look-alikes and marks that are not seen."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Cf", "Cs"))
    return unicodedata.normalize("NFKC", plain).translate(_LOOKALIKES)


def _inability(tokens: list[str]) -> int:
    """How many tokens before "to" say "cannot": "not able", "have not been able", "unable"."""
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
