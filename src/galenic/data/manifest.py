"""Records of known data files: hash, rows, licence and origin, and checks against them.

The package contains such a table for the published copies (``checksums.json``). A folder with its
own ``manifest.json`` is checked against that instead, so that data downloaded or prepared
elsewhere is compared with its state when the manifest was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from galenic.data.jsonl import JsonlFile, write_bytes
from galenic.errors import UserError

__all__ = ["MANIFEST", "FileFacts", "State", "check", "facts_of", "own_facts", "packaged",
           "write_manifest"]  # fmt: skip

MANIFEST = "manifest.json"
State = Literal["ok", "unknown", "packaged"]
"""``ok``: the hash equals the recorded one. ``unknown``: the file has no record. ``packaged``: the
file is part of the package, which the installer has verified."""


class FileFacts(BaseModel):
    """Record of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    rows: int
    license: str
    origin: str


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, FileFacts]


@cache
def packaged() -> Mapping[str, FileFacts]:
    """Return the records of the published copies, by name in the local layout."""
    text = files("galenic.data").joinpath("checksums.json").read_text(encoding="utf-8")
    return _Table.model_validate_json(text).files


def facts_of(folder: Path) -> Mapping[str, FileFacts]:
    """Return the folder's own manifest, or the packaged table if it has none."""
    return own_facts(folder) if (folder / MANIFEST).exists() else packaged()


def own_facts(folder: Path) -> Mapping[str, FileFacts]:
    """Return the folder's own manifest; empty if it has none.

    Raises:
        UserError: the manifest exists but is invalid.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        return _Table.model_validate_json(path.read_bytes()).files
    except (ValidationError, OSError) as error:
        first = str(error).replace("\n", " ")[:200]
        raise UserError(
            f"{path} cannot be used as a manifest ({first}). Delete it, or write it anew with "
            f"`galenic data --data {folder} --write-manifest`."
        ) from error


def check(folder: Path, name: str, file: JsonlFile) -> State:
    """Compare a file's hash with its record.

    Raises:
        UserError: the hash differs.
    """
    facts = facts_of(folder).get(name)
    if facts is None:
        return "unknown"
    if facts.sha256 != file.sha256:
        raise UserError(
            f"{file.path} is not the file that is recorded: its sha256 is {file.sha256}, expected "
            f"{facts.sha256}. Fetch it again; or, if you changed it on purpose, run `galenic data "
            f"--data {folder} --write-manifest` to record the files as they are now."
        )
    return "ok"


def write_manifest(folder: Path, facts: Mapping[str, FileFacts]) -> Path:
    """Write the folder's manifest, replacing an existing one, and return its path."""
    table = {"files": {name: facts[name].model_dump() for name in sorted(facts)}}
    path = folder / MANIFEST
    try:
        write_bytes(path, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    return path
