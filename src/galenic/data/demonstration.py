"""The embedded handbook as calibration text, for trying things out without data files.

Only the sentences are read, as data: nothing of the assistant is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from galenic.errors import UserError

__all__ = ["DEMONSTRATION", "demonstration_documents"]

DEMONSTRATION = (
    "--data sample: calibration on Galenic's own handbook, a demonstration. For a model that is "
    "to be used, name a folder with medquad/medquad.jsonl.gz, or --text FILE."
)
ENTRIES = Path(__file__).parents[1] / "assistant" / "handbook" / "entries"


def demonstration_documents() -> tuple[str, dict[str, str]]:
    """Return a hash of the handbook's files, and the text of each entry by name.

    Raises:
        UserError: the package contains no handbook.
    """
    paths = sorted(ENTRIES.glob("*.yaml"))
    if not paths:
        raise UserError("this installation holds no handbook. Give --data DIR or --text FILE.")
    digest, documents = hashlib.sha256(), {}
    for path in paths:
        raw = path.read_bytes()
        digest.update(raw)
        entry = yaml.load(raw, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        documents[path.stem] = "\n".join([str(entry["title"]), *_sentences(entry)])
    return digest.hexdigest(), documents


def _sentences(value: Any) -> Iterator[str]:
    """Yield every ``text`` field of an entry, in order."""
    if isinstance(value, dict):
        if isinstance(text := value.get("text"), str):
            yield text
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _sentences(part)
