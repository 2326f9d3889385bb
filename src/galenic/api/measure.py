"""Measuring models: benchmarks, perplexity, comparisons, reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galenic.api.given import Model, Progress, build, data_folder, model_name, watcher_of
from galenic.api.results import Comparison, Report, Run
from galenic.evaluation.config import DivergenceConfig, EvaluateConfig
from galenic.evaluation.divergence import Divergence

__all__ = ["compare", "evaluate", "perplexity", "report"]

COMMAND = "galenic.evaluate"
"""What a report says in place of the command line."""


def evaluate(
    model: Model,
    benchmarks: Sequence[str] = EvaluateConfig.model_fields["benchmarks"].default,
    *,
    limit: int | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress = False,
    **options: Any,
) -> Run:
    """Measure a model on benchmarks; a run that was stopped goes on when it is called again.

    Args:
        model: a name, path, Hub id, or what another call has returned.
        benchmarks: names, or paths of exams of your own (.jsonl, .csv).
        limit: at most so many questions a benchmark.
        data: folder with the benchmark files, or ``"sample"`` for the questions that ship with
            Galenic; default: ``GALENIC_DATA``, else the Hugging Face Hub.
        output: folder of the run; default: ``runs/<model>-<hash of the settings>``.
        progress: True prints what is being done on standard error.
        options: the other fields of `galenic.evaluation.config.EvaluateConfig`, which are the
            flags of ``galenic evaluate``: ``scoring``, ``debias``, ``num_fewshot``, ``runtime`` ...

    Raises:
        UserError: an argument is not allowed, or a model or data file is missing.
    """
    from galenic.evaluation.run import default_folder
    from galenic.evaluation.run import evaluate as run

    given = {"benchmarks": benchmarks, "limit": limit, "data": data_folder(data), **options}
    config = build(EvaluateConfig, {"model": model_name(model), **given}, "evaluate")
    folder = default_folder(config) if output is None else Path(output)
    return Run(run(config, folder, watcher_of(progress), COMMAND).folder)


def perplexity(
    model: Model,
    *,
    against: Model | None = None,
    text: str | Path | None = None,
    data: str | Path | None = None,
    progress: Progress = False,
    **options: Any,
) -> Divergence:
    """Perplexity of held-out text, bits per byte, and KL divergence from the parent.

    Args:
        model: a name, path, Hub id, or what another call has returned.
        against: the model to compare with; default: the first parent that the manifest names.
        text: a UTF-8 file of your own.
        data: folder with medquad/medquad.jsonl.gz; default: ``GALENIC_DATA``.
        progress: True prints what is being done on standard error.
        options: ``num_samples``, ``seq_len``, ``seed``, ``runtime``, ``threads``.

    Raises:
        UserError: an argument is not allowed, or a model or the text is missing.
    """
    from galenic.evaluation.divergence import measure_divergence
    from galenic.evaluation.parent import find_reference
    from galenic.models.load import resolve_model

    other = None if against is None else model_name(against)
    given = {"against": other, "text": None if text is None else str(text), **options}
    values = {"model": model_name(model), "data": data_folder(data), **given}
    config = build(DivergenceConfig, values, "perplexity")
    files = resolve_model(config.model)
    reference = find_reference(files, config.against)
    return measure_divergence(files, reference, config, watcher_of(progress))


def compare(
    run_a: Run | str | Path, run_b: Run | str | Path | None = None, **selected: str | None
) -> Comparison:
    """Compare two runs, or two scorings of one, on the questions that both answered.

    Args:
        run_a: the reference.
        run_b: the other; default: the first run itself.
        selected: ``scoring_a``, ``scoring_b``, ``debias_a``, ``debias_b``: only these records.

    Raises:
        UserError: a run cannot be read, both sides are the same, or they asked other questions.
    """
    from galenic.errors import unknown_name
    from galenic.reports.compare import SELECTIONS, compare_runs

    for name in selected:
        if name not in SELECTIONS:
            raise unknown_name("option of compare", name, SELECTIONS)
    second = None if run_b is None else _folder(run_b)
    found = compare_runs(_folder(run_a), second, **selected)
    return Comparison(tuple(found.results), found.pairing.unpaired_a, found.pairing.unpaired_b)


def report(*runs: Run | str | Path, output: str | Path | None = None, examples: int = 3) -> Report:
    """Write the report of runs: report.html, report.md and report.json.

    Args:
        runs: one or more, or the folder of one study.
        output: folder of the report; default: ``report`` inside the first run.
        examples: right and as many wrong questions shown of each row; 0 shows none.

    Raises:
        UserError: no run is given, one cannot be read, or the folder cannot be made.
    """
    from galenic.errors import UserError
    from galenic.reports.write import report_on

    if not runs:
        raise UserError("report: name at least one run.")
    folders = [_folder(one) for one in runs]
    target = folders[0] / "report" if output is None else Path(output)
    return Report({path.name: path for path in report_on(folders, target, examples=examples)})


def _folder(run: Run | str | Path) -> Path:
    return run.folder if isinstance(run, Run) else Path(run)
