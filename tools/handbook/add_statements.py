"""Add statements to entries of the handbook, or pages to statements, with their log lines.

    python tools/handbook/add_statements.py FILE.jsonl

A line of FILE has ``entry``, ``field``, ``text`` (one sentence in our own words), ``first`` (true
puts it before the statements that are there) and ``lookups``: what was looked up (``query``), the
page (``name``, ``title``, ``url``, ``date``) and what it ``says``. A statement that breaks a rule
of `galenic.assistant.handbook.check` is left out and said; nothing is written twice. A statement
that is there already gets the pages that are new; then a page that may only be cited together with
others (`leaving` in ``hosts.yaml``) is removed, where two accepted hosts are left without it.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from import_entries import LOG, TARGET, _written

from galenic.assistant.handbook.check import accepted, entry_faults, host_of, place_faults
from galenic.assistant.handbook.entry import Entry, Place, Statement


def main(path: Path) -> None:
    added = grown = 0
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        target = TARGET / f"{row['entry']}.yaml"
        raw = yaml.safe_load(target.read_text("utf-8"))
        if row["text"] in {one.statement.text for one in Entry.model_validate(raw).places()}:
            grown += _grown(raw, row, target)
            continue
        keys = [_source(raw["sources"], look) for look in row["lookups"]]
        statement = {"text": row["text"], "from": list(dict.fromkeys(keys))[:2]}
        holder, name = _holder(raw, row["field"])
        holder[name] = _placed(holder.get(name) or [], statement, row.get("first", False))
        entry = Entry.model_validate(raw)
        place = Place(row["field"], Statement.model_validate(statement))
        if faults := [*place_faults(entry, place), *entry_faults(entry)]:
            print(f"LEFT OUT {row['entry']}: {'; '.join(faults)}: {row['text']}")
            continue
        target.write_text(_written(entry), "utf-8")
        _log(row)
        added += 1
    print(f"{added} statements added, {grown} with a new page")


def _grown(raw: dict[str, Any], row: dict[str, Any], target: Path) -> bool:
    """Add pages to a statement that is there; whether one was new."""
    holder, name = _holder(raw, row["field"])
    there = next((one for one in holder[name] if one["text"] == row["text"]), None)
    new = [look for look in row["lookups"] if accepted(look["url"])]
    keys = [_source(raw["sources"], look) for look in new]
    if there is None or set(keys) <= set(there["from"]):
        return False
    there["from"] = _without_leaving([*there["from"], *keys], raw["sources"])
    used = {key for one in Entry.model_validate(raw).places() for key in one.statement.sources}
    raw["sources"] = {key: one for key, one in raw["sources"].items() if key in used}
    target.write_text(_written(Entry.model_validate(raw)), "utf-8")
    path = LOG / target.with_suffix(".jsonl").name
    log = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    line = next(one for one in log if one.get("text") == row["text"])
    line["lookups"] += [{k: v for k, v in look.items() if k != "name"} for look in new]
    path.write_text("".join(json.dumps(x, ensure_ascii=False) + "\n" for x in log), "utf-8")
    return True


def _without_leaving(keys: list[str], sources: dict[str, Any]) -> list[str]:
    """The pages of accepted hosts alone, if they are of two hosts; else all, these first."""
    kept = [key for key in dict.fromkeys(keys) if accepted(sources[key]["url"])]
    if len({host_of(sources[key]["url"]) for key in kept}) > 1:
        return kept
    return list(dict.fromkeys([*kept, *keys]))


def _holder(raw: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
    top, _, tier = field.partition(".")
    return (raw.setdefault(top, {}), tier) if tier else (raw, top)


def _placed(there: list[Any], statement: dict[str, Any], first: bool) -> list[Any]:
    return [statement, *there] if first else [*there, statement]


def _source(sources: dict[str, Any], look: dict[str, str]) -> str:
    """The key of the page; a new one where the entry does not have it."""
    for key, one in sources.items():
        if one["url"] == look["url"]:
            return key
    key = next(name for at in count(1) if (name := f"p{at}") not in sources)
    sources[key] = {name: look[name] for name in ("name", "title", "url", "date")}
    return key


def _log(row: dict[str, Any]) -> None:
    looks = [{k: v for k, v in look.items() if k != "name"} for look in row["lookups"]]
    line = {"entry": row["entry"], "field": row["field"], "text": row["text"], "lookups": looks}
    with (LOG / f"{row['entry']}.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
