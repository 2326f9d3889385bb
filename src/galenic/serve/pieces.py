"""Conversion between text and token ids, with or without the model's start token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from galenic.errors import UserError
from galenic.runtimes.base import Runtime
from galenic.runtimes.pieces import piece_bytes

__all__ = ["Pieces"]


class Pieces:
    """The tokenizer of a model. Must be used in the model's thread.

    Args:
        runtime: the model.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @cached_property
    def start(self) -> tuple[int, ...]:
        """Token ids that the tokenizer puts before every text, usually one or none."""
        return tuple(self._runtime.encode_batch([""])[0])

    @cached_property
    def size(self) -> int:
        """Size of the vocabulary."""
        return len(self._spelled)

    @cached_property
    def _spelled(self) -> list[bytes]:
        return piece_bytes(self._runtime.vocabulary())

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text, without the start token."""
        return self.without_start(self._runtime.encode_batch([text])[0])

    def without_start(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Remove a leading start token, if there is one."""
        size = len(self.start)
        return tuple(tokens[size:] if tuple(tokens[:size]) == self.start else tokens)

    def with_start(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Prepend the start token unless the tokens already begin with it."""
        found = tuple(tokens)
        return found if found[: len(self.start)] == self.start else (*self.start, *found)

    def check(self, tokens: Sequence[int]) -> None:
        """Check that all ids are in the vocabulary.

        Raises:
            UserError: an id is not in the vocabulary.
        """
        wrong = next((token for token in tokens if not 0 <= token < self.size), None)
        if wrong is not None:
            raise UserError(
                f"{wrong} is not a token id of this model; ids go from 0 to {self.size - 1}"
            )

    def text(self, tokens: Sequence[int]) -> str:
        """Decode token ids; special tokens appear as written in the vocabulary."""
        return b"".join(self._spelled[token] for token in tokens).decode(errors="replace")

    def each(self, tokens: Sequence[int]) -> list[str]:
        """Decode each token by itself; incomplete UTF-8 is shown as ``bytes:\\xe2``."""
        return [_shown(self._spelled[token]) for token in tokens]

    def offsets(self, tokens: Sequence[int], begin: int = 0) -> list[int]:
        """Return the character offset at which each token starts, counted from ``begin``."""
        found, seen = [], 0
        for token in tokens:
            found.append(begin + seen)
            seen += sum(byte & 0xC0 != 0x80 for byte in self._spelled[token])
        return found


def _shown(piece: bytes) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
