"""Limits on what comes from outside, in one place; each error names the limit that it met."""

from __future__ import annotations

import re

__all__ = [
    "JSONL_BYTES",
    "JSONL_LINE",
    "JSON_BYTES",
    "MESSAGE",
    "NOTES_BYTES",
    "NOTES_CHARACTERS",
    "NOTES_MEMORY",
    "NOTES_SECONDS",
    "PACK_INDEX",
    "SAFETENSORS_HEADER",
    "SCHEMA_NODES",
    "TEMPLATE_LENGTH",
    "TEMPLATE_MEMORY",
    "TEMPLATE_OUTPUT",
    "TEMPLATE_SECONDS",
    "TRIAL_BYTES_A_SECOND",
    "TRIAL_SECONDS",
    "UNPACKED_RATIO",
    "YAML_BYTES",
    "YAML_DEPTH",
    "YAML_NODES",
    "clamped",
    "one_line",
    "printable",
]

MESSAGE = 200
"""Characters of the input that an error message repeats."""
WORD = 400
"""Characters of a path or word in an error message; longer ones are cut in the middle."""
WHOLE_MESSAGE = 2_000
"""Characters of an error message."""
NOTES_BYTES = 5_000_000
"""Of a file that is dropped onto the page."""
NOTES_CHARACTERS = 60_000
"""Of its text that are taken as notes."""
NOTES_MEMORY = 1 << 30
"""Bytes of memory of the process that reads it."""
NOTES_SECONDS = 20
"""For which that process may run."""
SCHEMA_NODES = 2_000
"""Keys, values and lists in a JSON schema that an answer is to follow."""
JSON_BYTES = 1 << 28
"""Bytes of a JSON file; tokenizers of large vocabularies have 35 million."""
JSONL_BYTES = 1 << 31
"""Bytes of a file of JSON lines, unpacked."""
JSONL_LINE = 1 << 25
"""Bytes of one of its lines."""
UNPACKED_RATIO = 200
"""How much larger than the packed file what is in it may be; text is some 10 times larger."""
PACK_INDEX = 1 << 26
"""Bytes of the list in a packed model."""
YAML_BYTES = 1 << 20
"""Bytes of a YAML file: recipes, studies and clients' files are a few kilobytes."""
YAML_NODES = 20_000
"""Keys, values and lists in one YAML file."""
YAML_DEPTH = 50
"""Lists and mappings inside each other in a YAML file."""

SAFETENSORS_HEADER = 1 << 25
"""Bytes of the table of a safetensors file; of the largest models it has a few megabytes."""
TEMPLATE_LENGTH = 1 << 18
"""Characters of a chat template; long ones have 20,000."""
TEMPLATE_OUTPUT = 4 << 20
"""Characters that a chat template may write."""
TEMPLATE_SECONDS = 5
"""Of the processor, for a chat template to render a conversation."""
TEMPLATE_MEMORY = 1 << 30
"""Bytes of memory of the process in which it is rendered."""
TRIAL_SECONDS = 20
"""For the first load of a model, besides reading it."""
TRIAL_BYTES_A_SECOND = 20_000_000
"""A slow disk reads so much."""


def one_line(text: str, most: int = MESSAGE) -> str:
    """The first line of a text, printable and not longer than that.

    Args:
        text: of any kind, from outside perhaps.
        most: characters.
    """
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return printable(line if len(line) <= most else f"{line[: most - 1]}…")


def clamped(text: str) -> str:
    """An error message, with what it quotes cut to a line and itself to `WHOLE_MESSAGE`."""
    text = re.sub(r"'[^']+'|\"[^\"]+\"", lambda found: _cut(found[0], MESSAGE + 2), text)
    text = re.sub(r"\S+", lambda found: _cut(found[0], WORD), text)
    return _cut(text, WHOLE_MESSAGE)


def _cut(text: str, most: int) -> str:
    """A text without its middle."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[1 - most // 3 :]}"


def printable(text: str) -> str:
    """A text that every terminal and file takes: control signs and lone surrogates are written out.

    Line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(sign if _is_plain(sign) else ascii(sign)[1:-1] for sign in text)


def _is_plain(sign: str) -> bool:
    return sign in "\n\t" or not (
        sign < " " or "\x7f" <= sign < "\xa0" or "\ud800" <= sign < "\ue000"
    )
