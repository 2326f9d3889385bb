"""Limits on untrusted input, in one place; each error names the limit that was exceeded."""

from __future__ import annotations

import re

__all__ = [
    "ADDED_TOKENS",
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
    "TOKENIZER_GROWTH",
    "TRIAL_BYTES_A_SECOND",
    "TRIAL_SECONDS",
    "UNPACKED_RATIO",
    "YAML_BYTES",
    "YAML_DEPTH",
    "YAML_NODES",
    "clamped",
    "escaped",
    "one_line",
    "printable",
]

MESSAGE = 200
"""Maximum characters of the input that an error message quotes."""
WORD = 400
"""Maximum characters of a path or word in an error message; longer ones lose their middle."""
WHOLE_MESSAGE = 2_000
"""Maximum characters of an error message."""
NOTES_BYTES = 5_000_000
"""Maximum bytes of a file dropped onto the web page."""
NOTES_CHARACTERS = 60_000
"""Maximum characters of such a file's text that are used as notes."""
NOTES_MEMORY = 1 << 30
"""Memory limit in bytes of the process that reads such a file."""
NOTES_SECONDS = 20
"""Time limit of that process."""
SCHEMA_NODES = 2_000
"""Maximum number of keys, values and lists in a JSON schema for an answer."""
JSON_BYTES = 1 << 28
"""Maximum bytes of a JSON file; tokenizers with large vocabularies take 35 million."""
JSONL_BYTES = 1 << 31
"""Maximum bytes of a JSON Lines file, uncompressed."""
JSONL_LINE = 1 << 25
"""Maximum bytes of one line of such a file."""
UNPACKED_RATIO = 200
"""Maximum ratio of uncompressed to compressed size; for text it is about 10."""
PACK_INDEX = 1 << 26
"""Maximum bytes of the index of a packed model."""
YAML_BYTES = 1 << 20
"""Maximum bytes of a YAML file; recipes, studies and client files take a few kilobytes."""
YAML_NODES = 20_000
"""Maximum number of keys, values and lists in a YAML file."""
YAML_DEPTH = 50
"""Maximum nesting depth of a YAML file."""

SAFETENSORS_HEADER = 1 << 25
"""Maximum bytes of a safetensors header; the largest models need a few megabytes."""
TEMPLATE_LENGTH = 1 << 18
"""Maximum characters of a chat template; long ones have 20,000."""
TEMPLATE_OUTPUT = 4 << 20
"""Maximum characters of a rendered chat template."""
TEMPLATE_SECONDS = 5
"""CPU time limit for rendering a chat template."""
TEMPLATE_MEMORY = 1 << 30
"""Memory limit in bytes of the process that renders a chat template."""
TOKENIZER_GROWTH = 100
"""Maximum ratio of the length of a text as a tokenizer splits it to its length as given."""
ADDED_TOKENS = 64
"""Maximum number of tokens that a tokenizer may add to each text."""
TRIAL_SECONDS = 20
"""Time limit for the first load of a model, in addition to the time for reading it."""
TRIAL_BYTES_A_SECOND = 20_000_000
"""Assumed reading speed of a slow disk."""


_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def one_line(text: str, most: int = MESSAGE) -> str:
    """Return the first line of a text, made printable and cut to ``most`` characters.

    Args:
        text: any text, possibly untrusted.
        most: maximum length.
    """
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return printable(line if len(line) <= most else f"{line[: most - 1]}…")


def clamped(text: str) -> str:
    """Shorten an error message: quoted input to one line, the whole to `WHOLE_MESSAGE`."""
    text = re.sub(r"'[^']+'|\"[^\"]+\"", lambda found: _cut(found[0], MESSAGE + 2), text)
    text = re.sub(r"\S+", lambda found: _cut(found[0], WORD), text)
    return _cut(text, WHOLE_MESSAGE)


def _cut(text: str, most: int) -> str:
    """Cut a long text in the middle."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[1 - most // 3 :]}"


def printable(text: str) -> str:
    """Escape control characters and lone surrogates, so that any terminal or file accepts the text.

    Line breaks and tabs are kept.
    """
    if text.isprintable():
        return text
    return "".join(sign if _is_plain(sign) else ascii(sign)[1:-1] for sign in text)


def escaped(text: str) -> str:
    """Escape control characters and lone surrogates as JSON does (``\\u001b``).

    JSON stays the same JSON. Line breaks and tabs are kept; nothing else in the text can steer a
    terminal.
    """
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _is_plain(sign: str) -> bool:
    return sign in "\n\t" or not (
        sign < " " or "\x7f" <= sign < "\xa0" or "\ud800" <= sign < "\ue000"
    )
