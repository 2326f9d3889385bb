"""Read the entries that come with the package; parsed once, then kept as JSON in the user's cache.

YAML is slow to read (0.3 s for 190 entries, 0.03 s as JSON). The cached file is named by a digest
of the entries: another version of the package never reads a stale one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from galenic.assistant.handbook.entry import Entry

__all__ = ["NOTICE", "entries", "more_names", "read_entries", "spellings"]

NOTICE = (
    "Galenic's handbook: written in its own words from the public pages named; not reviewed by a "
    "clinician."
)
_MANY = TypeAdapter(tuple[Entry, ...])


@cache
def entries() -> tuple[Entry, ...]:
    """All entries, by id."""
    folder = files("galenic.assistant.handbook").joinpath("entries")
    names = sorted(Path(one.name).stem for one in folder.iterdir() if one.name.endswith(".yaml"))
    texts = [(name, folder.joinpath(f"{name}.yaml").read_bytes()) for name in names]
    digest = hashlib.sha256()
    for name, raw in texts:
        digest.update(f"{name} {len(raw)} ".encode())
        digest.update(raw)
    kept = _cache_path(digest.hexdigest()[:16])
    with suppress(OSError, ValueError, ValidationError):  # not there yet, or damaged: read anew
        return _MANY.validate_json(kept.read_bytes())
    raw_entries = [_parse(raw.decode("utf-8")) for _, raw in texts]
    _keep(kept, raw_entries)
    return _MANY.validate_python(raw_entries)


@cache
def _more_names() -> Mapping[str, tuple[str, ...]]:
    folder = files("galenic.assistant.handbook")
    found = yaml.safe_load(folder.joinpath("names.yaml").read_text(encoding="utf-8"))
    return {name: tuple(said) for name, said in found.items()}


def more_names(entry: str) -> tuple[str, ...]:
    """Ways of asking for an entry that were added after it was written (``names.yaml``)."""
    return _more_names().get(entry, ())


@cache
def spellings() -> Mapping[str, str]:
    """How words are written in text messages and by ear (``spellings.yaml``)."""
    folder = files("galenic.assistant.handbook")
    found = yaml.safe_load(folder.joinpath("spellings.yaml").read_text(encoding="utf-8"))
    return {str(written): meant for written, meant in found.items()}


def read_entries(paths: Sequence[Path]) -> tuple[Entry, ...]:
    """Entries from files.

    Raises:
        ValidationError: a file does not have the shape of an entry.
    """
    return tuple(Entry.model_validate(_parse(path.read_text(encoding="utf-8"))) for path in paths)


def _parse(text: str) -> Any:
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe ones


def _cache_path(digest: str) -> Path:
    import platformdirs

    given = os.environ.get("GALENIC_HOME")
    root = (
        Path(given).expanduser() / "cache"
        if given
        else Path(platformdirs.user_cache_dir("galenic"))
    )
    return root / f"handbook-{digest}.json"


def _keep(path: Path, raw_entries: Sequence[Any]) -> None:
    """Write the cached file whole or not at all; a place that cannot be written to is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob("handbook-*.json"):
            old.unlink()
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(raw_entries, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
