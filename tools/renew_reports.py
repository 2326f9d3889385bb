"""Write the committed reports again from their own report.json, after the form of reports changed.

    python tools/renew_reports.py [results/RUN ...]

No number changes: Markdown, page, model cards and picture are drawn from the figures that
report.json holds. The questions of a run are not in results/, so its page has no examples.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from galenic.reports.document import ReportDocument
from galenic.reports.html import to_html
from galenic.reports.markdown import to_markdown
from galenic.reports.study import StudyReport
from galenic.reports.write import study_files

RESULTS = Path(__file__).resolve().parent.parent / "results"


def renewed(folder: Path) -> dict[str, bytes]:
    """Contents of the files of a report, by name, as this version draws them.

    ``report.json`` itself is among them, and ``report.html`` only where the folder has one.
    """
    data = json.loads((folder / "report.json").read_bytes())
    if "facts" in data:
        return study_files(read_study(data))
    report = ReportDocument.model_validate(data)
    texts = {
        "report.json": report.model_dump_json(indent=2) + "\n",
        "report.md": to_markdown(report),
    }
    if (folder / "report.html").exists():
        texts["report.html"] = to_html(report, (), examples=0)
    return {name: text.encode() for name, text in texts.items()}


def read_study(data: dict[str, Any]) -> StudyReport:
    """The report of a study from its JSON, which joins a benchmark and a scoring with a comma."""
    for row in data["rows"]:
        row["answers"] = {tuple(key.split(",")): value for key, value in row["answers"].items()}
    return TypeAdapter(StudyReport).validate_python(data)


def main() -> int:
    folders = [Path(name) for name in sys.argv[1:]]
    for folder in folders or sorted(path.parent for path in RESULTS.glob("*/report.json")):
        for name, content in renewed(folder).items():
            path = folder / name
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
                print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
