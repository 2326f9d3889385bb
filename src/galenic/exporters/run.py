"""Export a model: a folder for another program, whole or not there."""

from __future__ import annotations

from pathlib import Path

from galenic.artifact.manifest import check_new
from galenic.cache import replacing
from galenic.errors import UserError
from galenic.exporters.base import ExportJob
from galenic.models.adapter import with_adapter
from galenic.models.load import resolve_model
from galenic.registry import EXPORTERS

__all__ = ["USE", "export"]

USE = "USE.txt"
"""How to use the folder."""


def export(
    model: str, target: str, output: Path, data: str | None = None, adapter: str | None = None
) -> str:
    """Write a model for another program.

    Args:
        model: as `galenic.models.load.resolve_model` takes it.
        target: name of the program, of `galenic.registry.EXPORTERS`.
        output: the folder to make.
        data: folder of the benchmarks, for programs that take questions along.
        adapter: folder or file of an adapter that goes along beside a GGUF; None without.

    Returns:
        How to use it, as lines of a shell.

    Raises:
        UserError: there is no such program or model, the model cannot take its form, or what is
            read back predicts something else. Nothing is left there then.
    """
    exporter = EXPORTERS.load(target)()
    output = output.absolute()
    check_new(output)
    files = resolve_model(model)
    if adapter is not None:
        if not exporter.adapters:
            raise UserError(f"--adapter goes with --to llama.cpp, not {target}.")
        files = with_adapter(files, Path(adapter))
    job = ExportJob(files, data)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as part:
        part.mkdir()
        use = exporter.write(job, part).replace("FOLDER", str(output))
        use = "\n".join([*(f"# read back: {line}" for line in job.found), use])
        for file in part.rglob("*.yaml"):  # tasks name the files beside them by their whole path
            text = file.read_text("utf-8").replace(str(part), str(output))
            file.write_text(text, encoding="utf-8")
        (part / USE).write_text(f"{use}\n", encoding="utf-8")
    return str(use)
