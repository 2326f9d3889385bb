"""Take the table of medicines and of interactions into the package.

    python tools/handbook/import_interactions.py FOLDER

FOLDER has medicines.yaml, interactions.yaml and interactions_log.jsonl. Pages on hosts that are not
accepted are left out, and rows without an accepted page; both are counted.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from galenic.assistant.handbook.check import accepted

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "src/galenic/assistant/handbook"


def main(folder: Path) -> None:
    shutil.copy(folder / "medicines.yaml", ROOT / "src/galenic/record/medicines.yaml")
    log = folder / "interactions_log.jsonl"
    if log.is_file():
        shutil.copy(log, Path(__file__).parent / "log" / "_interactions.jsonl")
    rows = yaml.safe_load((folder / "interactions.yaml").read_text("utf-8"))
    kept, hosts = [], Counter[int]()
    for row in rows:
        row["sources"] = [one for one in row["sources"] if accepted(one["url"])]
        number = len({urlsplit(one["url"]).netloc for one in row["sources"]})
        hosts[min(number, 2)] += 1
        if number:
            kept.append(row)
    text = yaml.dump(kept, sort_keys=False, allow_unicode=True, width=10**6)
    (TARGET / "interactions.yaml").write_text(text, "utf-8")
    print(f"{len(kept)} of {len(rows)} rows kept; by accepted hosts (0, 1, 2 or more): {hosts}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
