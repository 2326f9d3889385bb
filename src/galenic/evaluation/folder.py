"""The folder of a run: questions, records, and the state for resuming.

``run.json`` describes the run; ``items.jsonl`` has the questions and ``records.jsonl`` the results,
one line each in the order of the plan. Records are appended and flushed chunk by chunk, so a killed
run loses at most the chunk it was computing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from galenic.cache import is_leftover, replacing
from galenic.errors import UserError
from galenic.evaluation.records import Record, Timing
from galenic.jsonl import append_jsonl
from galenic.strict_json import read_object

__all__ = ["RunFolder"]

FORMAT = 1
COMPARED = ("format", "config", "model", "data", "versions")
"""Parts of ``run.json`` that must be equal for a run to be resumed ..."""
FREE = ("config.data", "config.threads", "model.num_threads")
"""... except the location of the data (hashes are compared instead) and the number of threads,
which changes at most the last digit of a probability."""
CONTINUED = ("0.1.0",)
"""Earlier versions whose unfinished runs can be resumed, since they compute the same."""


class RunFolder:
    """The folder of a run, locked until closed.

    Args:
        path: path of the folder; created if missing.

    Raises:
        UserError: another process is writing to it, or it contains something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file. Give a folder for the run with -o.")
        foreign = path.exists() and any(path.iterdir()) and not (path / "run.json").exists()
        if foreign and any(
            entry.name != ".lock" and not is_leftover(entry) for entry in path.iterdir()
        ):
            raise UserError(
                f"{path} is not empty and holds no run. Give an empty or new folder with -o."
            )
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"another galenic process is writing to {path}. Wait for it, or give another "
                "folder with -o."
            ) from error

    def close(self) -> None:
        """Release the lock; its file goes first, or it might be that of the next holder."""
        with suppress(OSError):  # Windows keeps an open file
            (self.path / ".lock").unlink()
        self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def manifest(self) -> dict[str, Any] | None:
        """Content of ``run.json``; None for a new run.

        Raises:
            UserError: the file is invalid.
        """
        path = self.path / "run.json"
        if not path.exists():
            return None
        return read_object(path)

    def begin(self, manifest: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> None:
        """Start a new run, or check that the existing one is the same.

        Raises:
            UserError: the folder has another run; the message says what differs.
        """
        before = self.manifest()
        if before is None:
            _write_lines(self.path / "items.jsonl", (_json(item) for item in items))
            _write_lines(self.path / "run.json", [json.dumps(manifest, indent=2)])
            return
        wanted = json.loads(json.dumps(manifest))
        differing = [
            f"{part}.{key}" if key else part
            for part in COMPARED
            for key in _differences(before.get(part), wanted.get(part))
            if f"{part}.{key}" not in FREE and not _continued(part, key, before)
        ]
        if differing:
            raise UserError(
                f"{self.path} holds another run: {', '.join(differing)} differ. Give another "
                "folder with -o, or delete this one."
            )

    def recorded(self, expected: Sequence[tuple[str, str, str]]) -> int:
        """Return the number of existing records, after removing an incomplete last line.

        Raises:
            UserError: the records do not match the plan.
        """
        path = self.path / "records.jsonl"
        if not path.exists():
            return 0
        _drop_partial_line(path)
        keys = []
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    keys.append(Record.model_validate_json(line).key)
                except ValidationError as error:
                    raise UserError(
                        f"{path} line {number} is not a record of this version. Give another "
                        "folder with -o."
                    ) from error
        if keys != list(expected[: len(keys)]):
            raise UserError(
                f"{path} holds records of other questions than this run asks. Give another "
                "folder with -o."
            )
        return len(keys)

    def keep_timings(self, chunks: int) -> None:
        """Delete the timings of all chunks after the first ``chunks``, which are computed again."""
        path = self.path / "timings.jsonl"
        if not path.exists():
            return
        _drop_partial_line(path)
        lines = path.read_bytes().splitlines()
        try:
            kept = [line for line in lines if Timing.model_validate_json(line).chunk < chunks]
        except ValidationError as error:
            raise UserError(
                f"{path} does not hold timings. Delete it: the run resumes without the earlier "
                "timings."
            ) from error
        if len(kept) < len(lines):
            _write_lines(path, (line.decode() for line in kept))

    def append(self, records: Sequence[Record], timing: Timing) -> None:
        """Append the records of one chunk and its timing, and flush them to disk."""
        append_jsonl(self.path / "records.jsonl", [record.model_dump_json() for record in records])
        append_jsonl(self.path / "timings.jsonl", [timing.model_dump_json()])


def _differences(before: Any, wanted: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(wanted, dict):
        return [key for key in {**before, **wanted} if before.get(key) != wanted.get(key)]
    return [] if before == wanted else [""]


def _continued(part: str, key: str, before: Mapping[str, Any]) -> bool:
    versions = before.get("versions")
    if not isinstance(versions, dict) or versions.get("galenic") not in CONTINUED:
        return False
    renamed = ("weights", "architecture", "engine")  # of a GGUF in the torch runtime
    return (part, key) == ("versions", "galenic") or (part == "model" and key in renamed)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _drop_partial_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
