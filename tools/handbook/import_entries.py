"""Take entries and their logs into the package: what does not keep to the rules stays out.

    python tools/handbook/import_entries.py ENTRIES LOG

Statements with too few accepted hosts are left out, sources that nothing names too, and an entry
that then breaks a rule as a whole; each is said. The log goes to ``tools/handbook/log``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from galenic.assistant.handbook.check import accepted, entry_faults, place_faults
from galenic.assistant.handbook.entry import FIELDS, SEEK, Entry

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "src/galenic/assistant/handbook/entries"
LOG = Path(__file__).parent / "log"


class _Flow(dict[str, Any]):
    """Written on one line."""


def main(source: Path, log: Path) -> None:
    LOG.mkdir(exist_ok=True)
    kept = size = statements = 0
    for path in sorted(source.glob("*.yaml")):
        try:
            raw = yaml.safe_load(path.read_text("utf-8"))
            entry = _trimmed(raw, path.stem)
        except (yaml.YAMLError, ValidationError, KeyError, TypeError, ValueError) as error:
            print(f"LEFT OUT {path.name}: {' '.join(str(error).split())[:200]}")
            continue
        if faults := list(entry_faults(entry)):
            print(f"LEFT OUT {path.name}: {'; '.join(faults)}")
            continue
        text = _written(entry)
        (TARGET / path.name).write_text(text, "utf-8")
        _log(log / f"{path.stem}.jsonl", entry)
        kept, size = kept + 1, size + len(text.encode())
        statements += len(list(entry.places()))
    print(f"{kept} entries, {statements} statements, {size:,} bytes")


def _trimmed(raw: dict[str, Any], name: str) -> Entry:
    """The entry without the sources and statements that may not stand in it."""
    sources = {key: one for key, one in raw["sources"].items() if accepted(one["url"])}

    def only(statements: Any) -> list[Any]:
        found = [
            {"text": one["text"], "from": [key for key in one["from"] if key in sources]}
            for one in statements or ()
        ]
        return [{**one, "from": _few(one["from"], sources)} for one in found if one["from"]]

    cut = {**raw, "sources": sources, "id": name}
    for field in FIELDS:
        if field in raw:
            cut[field] = only(raw[field])
    cut["seek"] = {tier: only((raw.get("seek") or {}).get(tier)) for tier in SEEK}
    entry = Entry.model_validate(cut)
    bad = set()
    for place in entry.places():
        if faults := list(place_faults(entry, place)):
            print(f"  {name}, {place.field}: {'; '.join(faults)}: {place.statement.text}")
            bad.add(place.statement.text)
    for holder in (cut, cut["seek"]):
        for field in (*FIELDS, *SEEK):
            if isinstance(holder.get(field), list):
                holder[field] = [one for one in holder[field] if one["text"] not in bad]
    entry = Entry.model_validate(cut)
    used = {key for place in entry.places() for key in place.statement.sources}
    return entry.model_copy(
        update={"sources": {k: v for k, v in entry.sources.items() if k in used}}
    )


def _few(keys: list[str], sources: dict[str, Any]) -> list[str]:
    """The first page and one of another host: what a reader is shown. The log keeps them all."""
    first = urlsplit(sources[keys[0]]["url"]).netloc.removeprefix("www.")
    other = [k for k in keys if urlsplit(sources[k]["url"]).netloc.removeprefix("www.") != first]
    return [keys[0], *(other or keys[1:])[:1]]


def _written(entry: Entry) -> str:
    """As YAML, a statement or a source a line, empty fields left out."""
    data: dict[str, Any] = entry.model_dump(by_alias=True)

    def flat(statements: Any) -> list[_Flow]:
        return [_Flow({"text": one["text"], "from": list(one["from"])}) for one in statements]

    out: dict[str, Any] = {key: data[key] for key in ("id", "kind", "title")}
    out["also"] = list(data["also"])
    if data["names"]:
        out["names"] = list(data["names"])
    out["group"] = data["group"]
    out["sources"] = {key: _Flow(one) for key, one in data["sources"].items()}
    out |= {field: flat(data[field]) for field in FIELDS if data[field]}
    out["seek"] = {tier: flat(data["seek"][tier]) for tier in SEEK if data["seek"][tier]}
    out["questions"] = list(data["questions"])
    return str(yaml.dump(out, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6))


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Flow, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, True)
)


def _log(path: Path, entry: Entry) -> None:
    texts = {place.statement.text for place in entry.places()}
    if not path.is_file():
        print(f"  {entry.id}: no log")
        return
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    kept = [row for row in rows if row.get("text") in texts]
    if missing := texts - {row["text"] for row in kept}:
        print(f"  {entry.id}: {len(missing)} statements without a log line")
    lines = (json.dumps(row, ensure_ascii=False) for row in kept)
    (LOG / path.name).write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
