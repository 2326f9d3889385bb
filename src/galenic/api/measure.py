"""Functions that measure models: benchmarks, perplexity, comparisons, reports."""

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
"""Shown in reports in place of the command line."""


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
    """Evaluate a model on benchmarks; calling it again resumes an interrupted run.

    Args:
        model: a name, path, Hub id, or the result of another call.
        benchmarks: names, or paths of your own question files (.jsonl, .csv).
        limit: maximum number of questions per benchmark.
        data: folder with the benchmark files, or ``"sample"`` for the questions that ship with
            Galenic; default: ``GALENIC_DATA``, else the Hugging Face Hub.
        output: folder of the run; default: ``runs/<model>-<hash of the settings>``.
        progress: True prints progress to standard error.
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
    """Measure perplexity and bits per byte on held-out text, and KL divergence from the parent.

    Args:
        model: a name, path, Hub id, or the result of another call.
        against: reference model; default: the first parent in the model's manifest.
        text: path of your own UTF-8 text file.
        data: folder with medquad/medquad.jsonl.gz; default: ``GALENIC_DATA``.
        progress: True prints progress to standard error.
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
    """Compare two runs, or two scorings of one run, on the questions that both answered.

    Args:
        run_a: the reference run.
        run_b: the run to compare with it; default: the reference run itself.
        selected: ``scoring_a``, ``scoring_b``, ``debias_a``, ``debias_b``: use these records only.

    Raises:
        UserError: a run cannot be read, both sides are the same, or their questions differ.
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
    """Write a report on one or more runs: report.html, report.md and report.json.

    Args:
        runs: one or more runs, or the folder of one study.
        output: folder of the report; default: ``report`` inside the first run's folder.
        examples: number of right and of wrong answers shown per row; 0 shows none.

    Raises:
        UserError: no run is given, a run cannot be read, or the folder cannot be created.
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
