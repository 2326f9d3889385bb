"""Convert vocabulary entries to the bytes of text that tokens stand for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

__all__ = ["piece_bytes"]

SPACE = "▁"


def piece_bytes(pieces: Sequence[str | None]) -> list[bytes]:
    """Bytes of each token; empty for ids without a vocabulary entry.

    Byte-level vocabularies write each byte as one character; SentencePiece vocabularies write plain
    text, with U+2581 for a space and ``<0xNN>`` for a single byte.
    """
    known = set(pieces)
    byte_level = {"Ġ", "Ċ"} <= known and SPACE not in known
    return [b"" if piece is None else _bytes(piece, byte_level=byte_level) for piece in pieces]


def _bytes(piece: str, *, byte_level: bool) -> bytes:
    if byte_level:
        known = _byte_of()
        return bytes(known[c] for c in piece) if all(c in known for c in piece) else piece.encode()
    if len(piece) == 6 and piece.startswith("<0x"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace(SPACE, " ").encode()


@cache
def _byte_of() -> dict[str, int]:
    """Byte of each character of GPT-2's alphabet: printable bytes are themselves, others U+0100 on.

    Radford et al., GPT-2 (2019), https://github.com/openai/gpt-2/blob/master/src/encoder.py.
    """
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in own]
    table = {chr(byte): byte for byte in own}
    return table | {chr(0x100 + place): byte for place, byte in enumerate(others)}
