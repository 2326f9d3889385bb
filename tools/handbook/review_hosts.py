"""Bring the handbook to the list of accepted hosts, after ``hosts.yaml`` has changed.

    python tools/handbook/review_hosts.py

A page whose host is outside the rule is replaced by one of the rule that the log has for the
statement; a statement that has none then goes, with its log line, and each is said. The same for
rows of the table of interactions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from import_entries import LOG, ROOT, TARGET, _few, _written

from galenic.assistant.handbook.check import accepted, entry_faults, leaving, place_faults
from galenic.assistant.handbook.entry import FIELDS, SEEK, Entry

TABLE = ROOT / "src/galenic/assistant/handbook/interactions.yaml"


def main() -> None:
    counts = {"replaced": 0, "gone": 0}
    for path in sorted(TARGET.glob("*.yaml")):
        raw = yaml.safe_load(path.read_text("utf-8"))
        if all(accepted(one["url"]) for one in raw["sources"].values()):
            continue
        log = _rows(path.stem)
        for statements in _lists(raw):
            statements[:] = [s for s in statements if _mended(raw, s, log, counts)]
        _write(path, raw, counts)
    print(counts)
    _table()


def _lists(raw: dict[str, Any]) -> Iterator[list[Any]]:
    yield from (raw[field] for field in FIELDS if raw.get(field))
    yield from (raw["seek"][tier] for tier in SEEK if (raw.get("seek") or {}).get(tier))


def _rows(name: str) -> dict[str, list[dict[str, str]]]:
    lines = (LOG / f"{name}.jsonl").read_text("utf-8").splitlines()
    return {row["text"]: row["lookups"] for row in map(json.loads, lines)}


def _mended(raw: dict[str, Any], statement: Any, log: dict[str, Any], counts: Any) -> bool:
    """Replace pages that are not accepted; whether any is left."""
    if all(accepted(raw["sources"][key]["url"]) for key in statement["from"]):
        return True
    old = statement["from"]
    keys = [key for key in old if accepted(raw["sources"][key]["url"])]
    looks = log.get(statement["text"], ())
    keys += [_key(raw["sources"], look) for look in looks if accepted(look["url"])]
    if keys:  # outside the rule, only beside a page of it
        keys += [key for key in old if leaving(raw["sources"][key]["url"])]
    counts["replaced"] += bool(keys)
    statement["from"] = _few(list(dict.fromkeys(keys)), raw["sources"]) if keys else []
    if not keys:
        counts["gone"] += 1
        print(f"GONE {raw['id']}: {statement['text']}")
    return bool(keys)


def _key(sources: dict[str, Any], look: dict[str, str]) -> str:
    for key, one in sources.items():
        if one["url"] == look["url"]:
            return key
    key = f"p{len(sources) + 1}"
    name = urlsplit(look["url"]).netloc.removeprefix("www.")
    sources[key] = {"name": name, "title": look["title"], "url": look["url"], "date": look["date"]}
    return key


def _write(path: Path, raw: dict[str, Any], counts: Any) -> None:
    used = {key for statements in _lists(raw) for one in statements for key in one["from"]}
    raw["sources"] = {key: one for key, one in raw["sources"].items() if key in used}
    if not raw.get("what"):
        print(f"LEFT {path.stem}: no definition would be left")
        return
    entry = Entry.model_validate(raw)
    bad = {p.statement.text for p in entry.places() if list(place_faults(entry, p))}
    for text in sorted(bad):
        counts["gone"] += 1
        print(f"GONE {entry.id}, too few hosts: {text}")
    for statements in _lists(raw):
        statements[:] = [one for one in statements if one["text"] not in bad]
    used = {key for statements in _lists(raw) for one in statements for key in one["from"]}
    raw["sources"] = {key: one for key, one in raw["sources"].items() if key in used}
    entry = Entry.model_validate(raw)
    if faults := list(entry_faults(entry)):
        print(f"FAULTS {entry.id}: {'; '.join(faults)}")
    path.write_text(_written(entry), "utf-8")
    texts = {place.statement.text for place in entry.places()}
    log = LOG / path.with_suffix(".jsonl").name
    lines = [one for one in log.read_text("utf-8").splitlines() if json.loads(one)["text"] in texts]
    log.write_text("\n".join(lines) + "\n", "utf-8")


def _table() -> None:
    """Rows of interactions: pages of accepted hosts, more from the log; none left, the row goes."""
    looks = {
        row["id"]: row["lookups"]
        for row in map(json.loads, (LOG / "_interactions.jsonl").read_text("utf-8").splitlines())
    }
    rows, hosts = [], [0, 0, 0]
    for row in yaml.safe_load(TABLE.read_text("utf-8")):
        pages = [one for one in row["sources"] if accepted(one["url"]) or leaving(one["url"])]
        for look in looks.get(row["id"], ()):
            if accepted(look["url"]) and look["url"] not in {one["url"] for one in pages}:
                name = urlsplit(look["url"]).netloc.removeprefix("www.")
                pages.append({**{k: look[k] for k in ("title", "url", "date")}, "name": name})
        number = len({urlsplit(one["url"]).netloc.removeprefix("www.") for one in pages})
        hosts[min(number, 2) if any(accepted(one["url"]) for one in pages) else 0] += 1
        if any(accepted(one["url"]) for one in pages):
            rows.append({**row, "sources": pages})
        else:
            print(f"GONE {row['id']}")
    TABLE.write_text(yaml.dump(rows, sort_keys=False, allow_unicode=True, width=10**6), "utf-8")
    print(f"interactions: {len(rows)} rows; by accepted hosts (0, 1, 2 or more): {hosts}")


if __name__ == "__main__":
    main()
