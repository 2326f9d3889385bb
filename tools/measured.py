"""Write what was measured of the models that come with the package, for the assistant to show.

    python tools/measured.py

From the reports in results/; the tests compare the file with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "src" / "galenic" / "models" / "measured.json"
MODELS = ("smollm2-135m", "medical-135m")
FIELDS = ("benchmark", "scoring", "n", "accuracy", "low", "high", "macro_f1")


def measured(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a report, as far as people look at them."""
    return [
        {**{key: row[key] for key in FIELDS}, "majority": row["baselines"]["majority"]}
        for row in report["rows"]
    ]


def collect() -> dict[str, Any]:
    """All models by name."""
    reports = {name: ROOT / "results" / name / "report.json" for name in MODELS}
    return {
        name: measured(json.loads(path.read_text(encoding="utf-8")))
        for name, path in reports.items()
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(collect(), indent=1) + "\n", encoding="utf-8")
