"""Child process that reads one file from standard input; see `galenic.serve.notes`."""

from __future__ import annotations

import json
import sys
from typing import Any

from galenic.limits import NOTES_CHARACTERS, NOTES_MEMORY, NOTES_SECONDS

__all__ = ["read"]

KINDS = (".pdf", ".txt", ".md")


def read(raw: bytes, kind: str) -> dict[str, Any]:
    """Return ``text`` and ``notes`` on what is left out, or ``error``.

    Args:
        raw: content of the file.
        kind: extension of its name, without the dot.
    """
    from galenic.retrieval.documents.base import SkipError
    from galenic.retrieval.index import READERS

    suffix = f".{kind}"
    if suffix not in KINDS:
        return {"error": f"only {', '.join(KINDS)} and .json are read as notes"}
    try:
        found = READERS.load(suffix)(raw, f"notes{suffix}")
    except SkipError as error:
        return {"error": str(error)}
    text = "\n".join(line.text for line in found.lines)
    notes = [f"{kind}: {number}" for kind, number in sorted(found.notes.items())]
    if len(text) > NOTES_CHARACTERS:
        notes.append(f"characters behind the first {NOTES_CHARACTERS:,} left out")
    return {"text": text[:NOTES_CHARACTERS], "notes": notes}


def main() -> None:
    """Print the result as one JSON object."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (NOTES_MEMORY, NOTES_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (NOTES_SECONDS, NOTES_SECONDS))
    sys.stdout.write(json.dumps(read(sys.stdin.buffer.read(), sys.argv[1])))


if __name__ == "__main__":
    main()
