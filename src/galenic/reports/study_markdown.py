"""The report of a study as Markdown, and model cards for the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galenic.artifact.front import card_head
from galenic.evaluation.compare import PairedResult
from galenic.reports.document import DISCLAIMER
from galenic.reports.meaning import meaning_of_card, meaning_of_study
from galenic.reports.study import SIGNIFICANT, Answers, StudyReport, TableRow
from galenic.reports.text import p_value, proportion, shorten, signed, span, spark, stored
from galenic.units import format_size

__all__ = ["study_card", "study_markdown"]

MOST_KINDS = 8
SHOWN_WIDTH = 300


def study_markdown(report: StudyReport) -> str:
    """Render the whole report."""
    facts = report.facts
    parts = [
        f"# Study: {facts['name']}",
        *meaning_of_study(report),
        f"> {DISCLAIMER}",
        facts["description"],
        f"```\n{facts['command']}\n```",
        *_problems(report),
        "## Questions (Table 1)",
        _sizes(report),
        "## Always the commonest answer (Table 2)",
        _baselines(report),
        "## What each recipe kept (Table 3)",
        "Accuracy with its 95 % interval; behind it the paired difference to the first row, marked "
        "\\* where the exact McNemar test gives p < .05. COLLAPSE: more than 90 % of the answers "
        "are one label, so the accuracy is that label's share. " + report.many_tests,
    ]
    for scoring in report.scorings:
        parts += [f"### Scoring: {scoring}", _table3(report, scoring)]
    parts += ["## Size, held-out text, speed", _costs(report)]
    parts += ["## Predictions", _predictions(report)]
    parts += ["## Confidence", _confidence(report)]
    parts += ["## What each step broke and fixed", _changes(report)]
    parts += ["## Errors by kind of question", _kinds(report)]
    if words := _words(report):
        parts += ["## In the models' own words", words]
    parts += ["## Recipes", *_recipes(report)]
    parts += ["## Versions", ", ".join(f"{k} {v}" for k, v in facts["versions"].items())]
    return "\n\n".join(parts) + "\n"


def study_card(report: StudyReport, row: TableRow) -> str:
    """Render a model card: the metadata header with ``model-index``, and the table.

    Args:
        report: report of the study.
        row: row of the model.
    """
    results = [
        {
            "task": {"type": "multiple-choice", "name": "Multiple-choice questions"},
            "dataset": {
                "type": benchmark,
                "name": answers.row.title,
                "split": answers.row.split,
            },
            "metrics": [
                {
                    "type": "accuracy",
                    "value": round(answers.row.accuracy, 4),
                    "name": f"accuracy ({scoring}, n = {answers.row.n}, 95 % "
                    f"{span(answers.row.low, answers.row.high)})",
                },
                {"type": "f1", "value": round(answers.row.macro_f1, 4), "name": "macro F1"},
            ],
        }
        for (benchmark, scoring), answers in row.answers.items()
    ]
    name = f"{row.cell.model}-{row.cell.variant}".replace("/", "-")
    head = card_head(row.cell.model, None, {"model-index": [{"name": name, "results": results}]})
    rows = f"All rows of the study {report.facts['name']}; this model is “{row.cell.title}”:"
    lines = [head, f"# {name}", "", meaning_of_card(report, row), "", f"> {DISCLAIMER}", ""]
    lines += [rows, "", ""]
    tables = [f"Scoring: {scoring}\n\n{_table3(report, scoring)}" for scoring in report.scorings]
    recipe = f"\n```yaml\n{row.cell.recipe}```\n" if row.cell.recipe else ""
    return "\n".join(lines) + "\n\n".join(tables) + "\n" + recipe


def _problems(report: StudyReport) -> list[str]:
    missing = sum(len(row.missing) for row in report.rows)
    if not missing:
        return []
    lines = [f"**Incomplete:** {missing} parts are missing."]
    lines += [f"- {problem}" for row in report.rows for problem in row.problems]
    return ["\n".join(dict.fromkeys(lines))]


def _sizes(report: StudyReport) -> str:
    asked = {b: a.row for row in report.rows for (b, _), a in row.answers.items()}
    lines = [
        [one["title"], one["split"], f"{one['n']:,}", _asked(asked.get(one["benchmark"]))]
        for one in report.facts["baselines"]
    ]
    return _lines(["benchmark", "split", "questions", "asked here"], lines)


def _asked(row: Any) -> str:
    return "–" if row is None else f"{row.n:,}"


def _baselines(report: StudyReport) -> str:
    head = ["benchmark", "answer", "accuracy", "precision", "recall", "F1", "macro F1", "uniform"]
    lines = [
        [
            f"{one['title']} {one['split']}",
            one["majority"],
            *(
                proportion(one[key], 4)
                for key in (
                    "accuracy",
                    "weighted_precision",
                    "weighted_recall",
                    "weighted_f1",
                    "macro_f1",
                    "uniform",
                )
            ),
        ]
        for one in report.facts["baselines"]
    ]
    return _lines(head, lines) + "\n\nOver the whole splits; averages weighted as in the paper."


def _table3(report: StudyReport, scoring: str) -> str:
    head = ["model", "size", *report.benchmarks.values(), "all together"]
    lines = []
    for row in report.rows:
        cells = [
            _accuracy(row.answers.get((benchmark, scoring))) for benchmark in report.benchmarks
        ]
        pooled = row.pooled.get(scoring)
        size = ", ".join(filter(None, [_size(row), stored(row.size or {})]))
        lines.append([report.name_of(row), size, *cells, _difference(pooled)])
    return _lines(head, lines)


def _size(row: TableRow) -> str:
    return "–" if row.size is None else format_size(row.size["file_bytes"])


def _accuracy(answers: Answers | None) -> str:
    if answers is None:
        return "–"
    row = answers.row
    text = f"**{proportion(row.accuracy)}** {span(row.low, row.high)}"
    if answers.versus is not None:
        text += f" ({_difference(answers.versus)})"
    return text + (f" COLLAPSE ({row.collapse[0]})" if row.collapse else "")


def _difference(compared: PairedResult | None) -> str:
    if compared is None:
        return "–"
    return signed(compared.difference) + ("\\*" if compared.p_value < SIGNIFICANT else "")


def _costs(report: StudyReport) -> str:
    head = ["model", "size", "bits a weight"]
    judged = any(row.perplexity for row in report.rows)
    timed = any(row.speed for row in report.rows)
    head += ["perplexity", "ratio to first", "KL, nats a token"] * judged
    head += ["tokens/s", "ratio", "peak memory"] * timed
    lines = []
    for row in report.rows:
        bits = row.size and row.size["bits_per_weight"]
        lines.append(
            [
                report.name_of(row),
                _size(row),
                f"{bits:.2f}" if bits else "–",
                *(_text_measures(row.perplexity) if judged else []),
                *(_speed_measures(row.speed) if timed else []),
            ]
        )
    return _lines(head, lines)


def _text_measures(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["–"] * 3
    own = found["perplexity_per_reference_token"] or found["model"]["perplexity"]
    ratio, kl = found["perplexity_ratio"], found["kl"]
    return [
        f"{own['value']:.2f} ({own['low']:.2f}–{own['high']:.2f})",
        f"{ratio['value']:.3f}" if ratio else "1",
        f"{kl['mean']['value']:.4f}" if kl else "–",
    ]


def _speed_measures(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["–"] * 3
    own, ratios = found["model"]["measures"], found["ratios"]
    ratio = ratios["decode"] if ratios else None
    return [
        f"{own['decode']['median']:.0f} ({found['model']['runtime']})",
        f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" if ratio else "–",
        format_size(int(own["peak_rss"]["median"])),
    ]


def _every(report: StudyReport) -> list[tuple[TableRow, str, str, Answers]]:
    return [
        (row, benchmark, scoring, row.answers[benchmark, scoring])
        for scoring in report.scorings
        for benchmark in report.benchmarks
        for row in report.rows
        if (benchmark, scoring) in row.answers
    ]


def _predictions(report: StudyReport) -> str:
    head = ["model", "benchmark", "scoring", "given", "right", "macro F1", "p", "flipped"]
    lines = []
    for row, benchmark, scoring, answers in _every(report):
        counts, versus = answers.row.counts, answers.versus
        lines.append(
            [
                report.name_of(row),
                report.benchmarks[benchmark],
                scoring,
                f"{spark(counts.predicted)} "
                + " / ".join(f"{label} {n}" for label, n in counts.predicted.items()),
                " / ".join(str(n) for n in counts.gold.values()),
                proportion(answers.row.macro_f1),
                "–" if versus is None else p_value(versus.p_value),
                "–" if versus is None else proportion(versus.flipped),
            ]
        )
    return _lines(head, lines)


def _confidence(report: StudyReport) -> str:
    lines = []
    for row, benchmark, scoring, answers in _every(report):
        if (found := answers.row.calibration) is not None:
            numbers = (found.ece, found.brier, found.aurc, found.selective["0.50"])
            name = [report.name_of(row), report.benchmarks[benchmark], scoring]
            lines.append([*name, *map(proportion, numbers)])
    head = ["model", "benchmark", "scoring", "ECE", "Brier", "AURC", "accuracy at 50 % coverage"]
    return _lines(head, lines)


def _changes(report: StudyReport) -> str:
    head = ["model", "step before", "scoring", "questions", "broke", "fixed", "difference", "p"]
    head += ["flipped"]
    lines = [
        [
            report.name_of(row),
            found.parent,
            found.scoring,
            str(found.compared.n),
            str(found.broke),
            str(found.fixed),
            signed(found.compared.difference),
            p_value(found.compared.p_value),
            proportion(found.compared.flipped),
        ]
        for row in report.rows
        for found in row.changes
    ]
    return _lines(head, lines) if lines else "There is one model only."


def _kinds(report: StudyReport) -> str:
    head = ["model", "benchmark", "scoring", "kind", "n", "error rate (95 %)", "of others"]
    head += ["share of all errors"]
    lines = []
    for row, benchmark, scoring, answers in _every(report):
        for one in [*answers.kinds, *answers.subjects][:MOST_KINDS]:
            lines.append(
                [
                    report.name_of(row),
                    report.benchmarks[benchmark],
                    scoring,
                    one.kind,
                    str(one.n),
                    f"{proportion(one.rate)} ({span(*one.interval)})",
                    proportion(one.others),
                    proportion(one.share),
                ]
            )
    return (_lines(head, lines) + "\n\n" if lines else "") + (
        "Kinds are rules over the text (`galenic.evaluation.failures`); a question may be "
        "of several. Kinds with fewer than five questions are left out."
    )


def _words(report: StudyReport) -> str:
    head = ["model", "benchmark", "question", "right", "read", "what it wrote"]
    lines = [
        [
            report.name_of(row),
            report.benchmarks.get(one.benchmark, one.benchmark),
            shorten(one.question, SHOWN_WIDTH),
            one.gold,
            one.prediction or "–",
            shorten(one.text, SHOWN_WIDTH),
        ]
        for row in report.rows
        for one in row.explained
    ]
    return _lines(head, lines) if lines else ""


def _recipes(report: StudyReport) -> list[str]:
    seen = {row.cell.title: row.cell.recipe for row in report.rows if row.cell.recipe}
    return [f"### {title}\n\n```yaml\n{recipe}```" for title, recipe in seen.items()]


def _lines(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head)]
    cells += [[text.replace("|", "\\|") for text in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
