"""Add pages to rows of the table of interactions, or new rows, with their log lines.

    python tools/handbook/add_interactions.py FILE.jsonl

A line of FILE has the ``id`` of a row, ``lookups`` as `add_statements` takes them, and the fields
of the row (``a``, ``b``, ``level``, ``text``, ``why``) that are new or change. A page whose host is
not accepted or that says nothing is left out and said, and so is a new row without pages of two
hosts; nothing is written twice. Prints how many rows rest on one host, by level.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from import_entries import LOG
from review_hosts import TABLE

from galenic.assistant.handbook.check import accepted, host_of
from galenic.assistant.handbook.interactions import Interaction

TABLE_LOG = LOG / "_interactions.jsonl"
PAGE = ("name", "title", "url", "date")


def main(path: Path) -> None:
    rows: dict[str, Any] = {row["id"]: row for row in yaml.safe_load(TABLE.read_text("utf-8"))}
    log = [json.loads(line) for line in TABLE_LOG.read_text("utf-8").splitlines()]
    for line in path.read_text("utf-8").splitlines():
        given = json.loads(line)
        looks = [one for one in given.pop("lookups") if _fits(given["id"], one)]
        row = rows.get(given["id"], {}) | given
        there = row.pop("sources", [])
        known = {page["url"] for page in there}
        pages = [{name: one[name] for name in PAGE} for one in looks if one["url"] not in known]
        row["sources"] = [*there[:1], *pages, *there[1:]]
        if given["id"] not in rows and len(_hosts(row)) < 2:
            print(f"LEFT OUT {given['id']}: a new row needs pages of two hosts")
            continue
        Interaction.model_validate(row)
        rows[given["id"]] = row
        _logged(log, given["id"], looks)
    text = yaml.dump(list(rows.values()), sort_keys=False, allow_unicode=True, width=10**6)
    TABLE.write_text(text, "utf-8")
    TABLE_LOG.write_text("".join(json.dumps(x, ensure_ascii=False) + "\n" for x in log), "utf-8")
    single = Counter(row["level"] for row in rows.values() if len(_hosts(row)) < 2)
    print(f"{len(rows)} rows; with pages of one host only: {single.total()}, {dict(single)}")


def _fits(name: str, look: dict[str, str]) -> bool:
    fits = accepted(look["url"]) and bool(look["says"])
    if not fits:
        print(f"LEFT OUT a page of {name}: {look['url']}")
    return fits


def _hosts(row: dict[str, Any]) -> set[str]:
    return {host_of(page["url"]) for page in row["sources"]}


def _logged(log: list[Any], name: str, looks: list[dict[str, str]]) -> None:
    """Put look-ups into the log line of a row, or into a new line."""
    line = next((one for one in log if one["id"] == name), None)
    if line is None:
        line = {"id": name, "lookups": []}
        log.append(line)
    known = {one["url"] for one in line["lookups"]}
    line["lookups"] += [
        {k: v for k, v in one.items() if k != "name"} for one in looks if one["url"] not in known
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
