"""Letters that hide or look alike change no tier; odd input gets a tier or a clear note."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from galenic.assistant.triage.triage import triage
from galenic.retrieval.legible import legible

PLAIN = (
    "My six week old has a temperature of 38.5",
    "I took 30 sertraline an hour ago",
    "62M CP rad L arm, diaphoretic, SOB",
    "I want to kill myself",
)
LATIN = "aceopxyABCEHKMOPT"
CYRILLIC = "асеорхуАВСЕНКМОРТ"
SMALL = dict(zip("abcdeghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ", strict=True))


def wide(text: str) -> str:
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else "\u3000" for one in text)


def between(mark: str) -> Callable[[str], str]:
    return mark.join


DISGUISES: dict[str, Callable[[str], str]] = {
    "zero width": between("\u200b"),
    "soft hyphens": between("\u00ad"),
    "fillers": between("\u3164"),
    "control characters": between("\x00"),
    "control characters for spaces": lambda text: text.replace(" ", "\x07"),
    "full width": wide,
    "Cyrillic": lambda text: text.translate(str.maketrans(LATIN, CYRILLIC)),
    "small capitals": lambda text: "".join(SMALL.get(one, one) for one in text),
    "right to left": lambda text: f"\u202e{text}\u202c",
    "emoji": lambda text: text.replace(" ", " 😱 "),
    "line ends": lambda text: text.replace(" ", "\r\n"),
}


@pytest.mark.parametrize("text", PLAIN)
@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_disguise_changes_nothing(text: str, disguise: Callable[[str], str]) -> None:
    assert triage(disguise(text)).tier == "emergency"
    assert triage("and now?", history=[disguise(text)]).tier == "emergency"


HIDDEN: dict[str, Callable[[str], str]] = {
    "no spaces": lambda text: text.replace(" ", ""),
    "letters apart": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "all letters apart": lambda text: " ".join(text.replace(" ", "")),
    "dots": lambda text: ".".join(text.replace(" ", "")),
    "dots for spaces": lambda text: text.replace(" ", "."),
    "digits": lambda text: text.translate(str.maketrans("oieas", "01345")),
}


@pytest.mark.parametrize(
    "text", ["crushing chest pain", "I want to kill myself", "my throat is closing up"]
)
@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_hidden_words_are_read(text: str, hide: Callable[[str], str]) -> None:
    assert triage(hide(text)).tier == triage(text).tier == "emergency"


@pytest.mark.parametrize(
    "text",
    [
        "My order A1B2C3 has not come yet", "Where is parcel 5TR0K3?",
        "Is vitamin B12 0.5 mg enough?", "the breaststroke and backstroke are my favourites",
        "my heartburn tablets ran out", "A B C D E F G, I know the alphabet",
    ],
)  # fmt: skip
def test_numbers_and_abbreviations_raise_no_alarm(text: str) -> None:
    assert triage(text).tier != "emergency"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("сhеst", "chest"),
        ("Сор остановил машину", "Сор остановил машину"),
        ("Η καρδιά μου πονάει", "Η καρδιά μου πονάει"),
        ("ＢＰ　８０／４０", "BP 80/40"),
        ("38·4 at 7½ weeks", "38.4 at 7.5 weeks"),
        ("naïve\nplain", "naïve\nplain"),
        ("ch\x00est pain", "ch est pain"),
        ("\u202e\u200b", ""),
    ],
)
def test_legible(given: str, read: str) -> None:
    assert legible(given) == read


@pytest.mark.parametrize(
    "text", ["", " \t", "\x00\x07", "\u202e", "🤕" * 20, "0", "12345", "٣٨", "!!!", "\u200b" * 50]
)
def test_nothing_to_read_is_said_and_asked_about(text: str) -> None:
    found = triage(text)
    assert (found.tier, found.final) == ("unknown", False)
    assert found.notes and found.questions


@pytest.mark.slow
def test_a_megabyte_keeps_its_emergency() -> None:
    text = "I have crushing chest pain.\n\n" + "".join(f"Line {n}: soup.\n" for n in range(65_000))
    found = triage(text)
    assert found.tier == "emergency"
    assert f"{len(text):,}" in found.notes[0]
