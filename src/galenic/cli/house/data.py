"""``galenic data``: what the benchmark files are, and whether they are what they should be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.cli.options import DataOption
from galenic.cli.output import PlainConsole, echo

if TYPE_CHECKING:
    from rich.table import Table

    from galenic.data.inventory import FileReport
    from galenic.data.sources import DataSource

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "List, download and check the benchmark files: rows, labels, checksums and licences. Ends "
    "with status 2 when a file is damaged or does not match its recorded checksum."
)
EXAMPLES = """\
**Examples**

`galenic data --data DIR` checks every file of a folder

`galenic data --download` fetches PubMedQA, MedQA and MedMCQA from the Hub

`galenic data --from data_clean.zip --data DIR` converts the authors' published archives

`galenic data` shows what was downloaded so far

`galenic data --data sample --json` JSON, for programs

`galenic data --data DIR --write-manifest` records the checksums of the current files
"""

_ATTRIBUTION = (
    "MedQuAD is CC BY 4.0: A. Ben Abacha and D. Demner-Fushman, A Question-Entailment Approach to "
    "Question Answering, BMC Bioinformatics 20:511, 2019."
)
_RIGHTS = (
    "Licences are as the repositories state them. Questions of MedQA and MedMCQA come from exam "
    "material and contexts of PubMedQA from abstracts, whose authors may hold rights of their own."
)


def command(
    data: DataOption = None,
    write_manifest: Annotated[
        bool,
        typer.Option(
            "--write-manifest",
            help="Validate the files of --data and record their hashes in DIR/manifest.json; "
            "later runs check the folder against it.",
        ),
    ] = False,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Fetch missing sets from the Hugging Face Hub into the user cache (needs the "
            "extra `hub`). Interrupted downloads resume.",
        ),
    ] = False,
    training: Annotated[
        bool, typer.Option("--training", help="With --download: also the training sets.")
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Convert the files that the authors publish (a zip, its folder or one file: "
            "MedQA's data_clean.zip, MedMCQA's zip, PubMedQA's ori_pqal.json) into --data, "
            "or into the user cache. Existing files are kept.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """List the benchmark files."""
    from galenic.data.inventory import inspect, record
    from galenic.data.sources import open_source
    from galenic.errors import UserError

    if training and not download:
        raise UserError("--training works only with --download.")
    _bring(data, published, download=download, training=training)
    source = open_source(data)
    if write_manifest:
        if data is None or source.sample:
            raise UserError("--write-manifest needs a folder of your own: --data DIR.")
        echo(f"wrote {record(source)}", err=True)
    if data is None and _is_empty(source.folder):
        if as_json:
            _print_json(source, [])
        else:
            echo(
                f"The cache {source.folder} holds no data yet. `galenic data --download` fetches "
                "it from the Hugging Face Hub; --data DIR names a folder with the files, "
                "--data sample the questions shipped with the package."
            )
        return
    reports = inspect(source)
    if as_json:
        _print_json(source, reports)
    else:
        _print_table(source, reports)
    problems = [report.problem for report in reports if report.problem]
    for problem in problems:
        echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(2)


def _download(data: Path | None, *, training: bool) -> None:
    """Bring every set that is not in the cache yet; each is whole or not there."""
    from galenic.cli.progress import watched
    from galenic.data import hub
    from galenic.errors import UserError

    if data is not None:
        raise UserError("--download fills the user cache; leave --data (GALENIC_DATA) out.")
    names = [name for name in hub.HUB_SETS if training or "/train" not in name]
    folder = hub.data_cache()
    with watched("Downloaded sets are kept: run the same command again to resume.") as watcher:
        watcher.stage("fetching from the Hugging Face Hub", len(names))
        for number, name in enumerate(names):
            licence = hub.HUB_SETS[name].license
            watcher.say(f"{name}: {hub.HUB_SETS[name].repo}, licence as stated: {licence}")
            hub.fetch(name, folder)
            watcher.advance(number + 1)


def _bring(data: Path | None, published: Path | None, *, download: bool, training: bool) -> None:
    """What is asked for from the Hub, or from an archive."""
    from galenic.errors import UserError

    if download and published is not None:
        raise UserError("--download and --from exclude each other. Give one of them.")
    if download:
        _download(data, training=training)
    if published is not None:
        _take(published, data)


def _take(published: Path, data: Path | None) -> None:
    """Bring the sets of an archive into the folder, or the cache."""
    from galenic.data.hub import data_cache
    from galenic.data.published import take_published
    from galenic.errors import UserError

    if str(data) == "sample":
        raise UserError("--from writes into a folder: name one with --data DIR, or leave it out.")
    for path in take_published(published.expanduser(), data or data_cache()):
        echo(f"wrote {path}", err=True)


def _is_empty(folder: Path) -> bool:
    return not any(folder.rglob("*.jsonl.gz"))


def _print_json(source: DataSource, reports: list[FileReport]) -> None:
    import json

    rows: list[dict[str, Any]] = [
        {**asdict(report), "majority": report.majority} for report in reports
    ]
    result = {
        "folder": str(source.folder),
        "files": rows,
        "total_rows": sum(report.rows for report in reports),
        "notes": _notes(reports),
    }
    echo(json.dumps(result, indent=1, ensure_ascii=False))


def _print_table(source: DataSource, reports: list[FileReport]) -> None:
    from rich.markup import escape

    console = PlainConsole()
    console.print(f"Table 1. Data in {escape(str(source.folder))}", soft_wrap=True)
    questions = _table(("benchmark", "split", ">rows", "labels", ">majority"))
    provenance = _table(("file", "sha256", "check", "licence as stated"))
    for report in reports:
        labels = " ".join(f"{label} {count:,}" for label, count in report.labels.items())
        title = report.title.removesuffix(", sample")
        rows = f"{report.rows:,}" + ("*" if _is_partial(report) else "")
        majority = "–" if report.majority is None else f"{report.majority:.4f}"
        questions.add_row(title, report.split, rows, labels or "–", majority)
        sha256 = (report.sha256 or "–")[:12]
        provenance.add_row(report.file, sha256, report.checksum, escape(report.license))
    questions.add_section()
    questions.add_row("total", "", f"{sum(report.rows for report in reports):,}", "", "")
    console.print(questions)
    console.print(provenance)
    for note in _notes(reports):
        console.print(escape(note), soft_wrap=True)


def _table(columns: tuple[str, ...]) -> Table:
    """An empty table; ``>`` before a name puts the column to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in columns:
        right = name.startswith(">")
        last = name.startswith("licence")
        table.add_column(
            name.removeprefix(">"), justify="right" if right else "left", no_wrap=not last
        )
    return table


def _is_partial(report: FileReport) -> bool:
    return report.paper_rows is not None and 0 < report.rows < report.paper_rows


def _notes(reports: list[FileReport]) -> list[str]:
    if not reports or reports[0].checksum == "packaged":
        return []
    notes = [
        f"* {r.title} {r.split} is partial: {r.rows:,} of {r.paper_rows:,} rows of the paper's "
        "Table 1."
        for r in reports
        if _is_partial(r)
    ]
    files = {report.file for report in reports}
    if {"pubmedqa/all.jsonl.gz", "pubmedqa/test.jsonl.gz"} <= files:
        notes.append("The total counts PubMedQA twice: `all` is `test` and `cv` together.")
    if "medquad/medquad.jsonl.gz" in files:
        notes.append(_ATTRIBUTION)
    return [*notes, _RIGHTS]
