"""Loading of the handbook entries in the package, with a cache of the parsed files.

Parsing YAML is slow (0.3 s for 190 entries, 0.03 s as JSON), so the parsed entries are cached as
JSON in the user's cache folder. The name of the cache file contains a hash of all entries, so a
stale cache is never used.
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

__all__ = ["NOTICE", "alike_words", "entries", "more_names", "read_entries", "spellings"]

NOTICE = (
    "Galenic's handbook: written in its own words from the public pages named; not reviewed by a "
    "clinician."
)
"""Attribution that is displayed with the handbook's passages."""
_MANY = TypeAdapter(tuple[Entry, ...])


@cache
def entries() -> tuple[Entry, ...]:
    """Load all entries of the package, sorted by id."""
    folder = files("galenic.assistant.handbook").joinpath("entries")
    names = sorted(Path(one.name).stem for one in folder.iterdir() if one.name.endswith(".yaml"))
    texts = [(name, folder.joinpath(f"{name}.yaml").read_bytes()) for name in names]
    digest = hashlib.sha256()
    for name, raw in texts:
        digest.update(f"{name} {len(raw)} ".encode())
        digest.update(raw)
    kept = _cache_path(digest.hexdigest()[:16])
    with suppress(OSError, ValueError, ValidationError):  # missing or damaged: parse the YAML
        return _MANY.validate_json(kept.read_bytes())
    raw_entries = [_parse(raw.decode("utf-8")) for _, raw in texts]
    _keep(kept, raw_entries)
    return _MANY.validate_python(raw_entries)


@cache
def _more_names() -> Mapping[str, tuple[str, ...]]:
    """Load ``names.yaml``: additional names by id of the entry."""
    folder = files("galenic.assistant.handbook")
    found = yaml.safe_load(folder.joinpath("names.yaml").read_text(encoding="utf-8"))
    return {name: tuple(said) for name, said in found.items()}


def more_names(entry: str) -> tuple[str, ...]:
    """Return the additional names of an entry in ``names.yaml``, which are not in its own file.

    Args:
        entry: id of the entry.
    """
    return _more_names().get(entry, ())


@cache
def spellings() -> Mapping[str, str]:
    """Load ``spellings.yaml``: text-message and phonetic spellings with the words they stand for.

    Example: ``wen`` maps to ``when``.
    """
    return _pairs("spellings.yaml")


def alike_words() -> Mapping[str, str]:
    """Load ``alike.yaml``: words, and the other words that count as equal to each in names."""
    return _pairs("alike.yaml")


def _pairs(name: str) -> Mapping[str, str]:
    """Load a file of pairs of words."""
    folder = files("galenic.assistant.handbook")
    found = yaml.safe_load(folder.joinpath(name).read_text(encoding="utf-8"))
    return {str(written): meant for written, meant in found.items()}


def read_entries(paths: Sequence[Path]) -> tuple[Entry, ...]:
    """Read entries from YAML files.

    Args:
        paths: one file per entry.

    Raises:
        ValidationError: a file does not match the data model of an entry.
    """
    return tuple(Entry.model_validate(_parse(path.read_text(encoding="utf-8"))) for path in paths)


def _parse(text: str) -> Any:
    """Parse YAML text with the fast C loader if it is available."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe ones


def _cache_path(digest: str) -> Path:
    """Return the path of the cache file for entries with this hash."""
    import platformdirs

    given = os.environ.get("GALENIC_HOME")
    root = (
        Path(given).expanduser() / "cache"
        if given
        else Path(platformdirs.user_cache_dir("galenic"))
    )
    return root / f"handbook-{digest}.json"


def _keep(path: Path, raw_entries: Sequence[Any]) -> None:
    """Write the cache file atomically and delete older ones; write errors are ignored."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob("handbook-*.json"):
            old.unlink()
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(raw_entries, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
