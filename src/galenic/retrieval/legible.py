"""Undo what hides plain words from a reader: invisible characters and look-alike letters."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["legible"]

_KEPT = "\t\n\r\v\f\x1c\x1d\x1e\x1f\x85"
"""Control characters that separate words or lines."""
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u00ad\u034f\u180e")
"""Characters that look empty and are neither a space nor a control character."""
_LOOKALIKES = str.maketrans(
    "аеорсухіԁјѕһԛԝвкмнтАЕОРСУХІЈЅВКМНТαοινυρκτχΑΒΕΗΙΚΜΝΟΡΤΥΧΖᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "aeopcyxidjshqwbkmhtAEOPCYXIJSBKMHTaoivupktxABEHIKMNOPTYXZabcdefghijklmnoprstuvwyz",
)
_HALF = re.compile(r"(?<=\d)½")
_POINT = re.compile(r"(?<=\d)·(?=\d)")


def legible(text: str) -> str:
    """Return a text as a person would read it.

    Full-width, bold and circled letters and digits become plain ones (Unicode NFKC), invisible and
    control characters go, and Cyrillic, Greek and small capital letters that look like Latin ones
    become those, unless most letters of the text are not Latin.

    "сhеst" with two Cyrillic letters becomes "chest"; a Russian sentence stays as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    plain = unicodedata.normalize("NFKC", _POINT.sub(".", _HALF.sub(".5", text)))
    letters = sum(map(str.isalpha, plain))
    hidden = sum(map(_is_control, plain))
    gap = "" if 3 * hidden > letters else " "  # between letters, or in place of spaces
    plain = "".join(gap if _is_control(one) else one for one in plain if not _is_invisible(one))
    read = plain.translate(_LOOKALIKES)
    latin, read_latin = (sum(map(_is_latin, one)) for one in (plain, read))
    # Mostly other letters: a disguise only if, read as Latin ones, hardly another is left.
    if 2 * latin < letters and (not latin or 10 * read_latin < 9 * letters):
        return plain
    return read


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and character not in _KEPT


def _is_invisible(character: str) -> bool:
    return character in _FILLERS or unicodedata.category(character) in ("Cf", "Cs")


def _is_latin(character: str) -> bool:
    if character.isascii():
        return character.isalpha()
    return character.isalpha() and unicodedata.name(character, "").startswith("LATIN")
