"""What a tokenizer does to a text before llama.cpp's own rules, and llama.cpp cannot be told to do.

A GGUF has no place for these: accents are composed (NFC), special tokens swallow the white space
beside them, and a space is put before a text only where none is (Metaspace). They are written under
a key of our own, and both runtimes follow them; other programs built on llama.cpp do not.

Behaviour: https://github.com/huggingface/tokenizers, ``added_vocabulary.rs`` and ``metaspace.rs``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from galenic.errors import UserError
from galenic.limits import one_line

__all__ = ["KEY", "SCHEMES", "TextRules", "token_pattern"]

KEY = "galenic.text_rules"
"""Metadata key of a GGUF, whose value is a JSON object."""
SCHEMES = ("", "first", "always")
WHITE = (
    "\t\n\v\f\r \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + ("\u2028\u2029\u202f\u205f\u3000")
)
"""Unicode's White_Space."""


@dataclass(frozen=True)
class TextRules:
    """Changes to a text before it is split into tokens.

    Attributes:
        compose: whether accents are composed (NFC).
        spaces: where a space is put before a part of the text that begins with none: ``"always"``
            before each part between added tokens, ``"first"`` only at the beginning of the text;
            empty if llama.cpp's own rule is right.
        lstrip: added tokens that swallow the white space before them.
        rstrip: added tokens that swallow the white space after them.
    """

    compose: bool = False
    spaces: str = ""
    lstrip: tuple[str, ...] = ()
    rstrip: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != TextRules()

    def prepare(self, text: str, tokens: re.Pattern[str]) -> str:
        """Return the text that llama.cpp splits as the tokenizer splits this one.

        With ``spaces``, llama.cpp must put no space before it.

        Args:
            text: the text, or a part of it that is tokenized by itself.
            tokens: pattern of the added tokens that are recognised in it (`token_pattern`).
        """
        strips = self.lstrip or self.rstrip
        if not (self.spaces or strips) and (
            not self.compose or unicodedata.is_normalized("NFC", text)
        ):
            return text
        parts = tokens.split(text)  # texts and, at odd places, tokens
        for at in range(0, len(parts), 2):
            part = parts[at]
            if at and parts[at - 1] in self.rstrip:
                part = part.lstrip(WHITE)
            if at + 1 < len(parts) and parts[at + 1] in self.lstrip:
                part = part.rstrip(WHITE)
            if self.compose:
                part = unicodedata.normalize("NFC", part)
            wanted = self.spaces == "always" or (self.spaces == "first" and at == 0)
            if wanted and part and part[0] not in " ▁":
                part = " " + part
            parts[at] = part
        return "".join(parts)

    def written(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def read(text: str | None) -> TextRules:
        """Read what `written` wrote; None for a file that has none.

        Raises:
            UserError: it is not one that this version knows.
        """
        try:
            facts = json.loads(text or "{}")
            lists = [facts.pop(key, []) for key in ("lstrip", "rstrip")]
            found = TextRules(
                facts.pop("compose", False), facts.pop("spaces", ""), *map(tuple, lists)
            )
            known = not facts and found.spaces in SCHEMES and isinstance(found.compose, bool)
            known &= all(type(one) is list for one in lists)
            known &= all(isinstance(token, str) for one in lists for token in one)
        except (ValueError, TypeError, AttributeError):
            known = False
        if not known:
            raise UserError(
                f"the GGUF's {KEY} is {one_line(repr(text), 80)}, which is not known here: "
                "texts would be read wrongly. Use a newer Galenic, or convert the model again."
            )
        return found


def token_pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Pattern whose only group matches any of the tokens, the longest first; none matches never."""
    longest_first = sorted(set(tokens) - {""}, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
