"""Export a model to a folder for another program."""

from __future__ import annotations

import shlex
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
"""File in the export that says how to use it."""


def export(
    model: str, target: str, output: Path, data: str | None = None, adapter: str | None = None
) -> str:
    """Write a model for another program.

    Args:
        model: model name, see `galenic.models.load.resolve_model`.
        target: name of the program in `galenic.registry.EXPORTERS`.
        output: folder to create.
        data: folder of the benchmark files, for exports that include questions.
        adapter: folder or file of an adapter to export with a GGUF; None for none.

    Returns:
        Shell commands that use the export.

    Raises:
        UserError: the program or model is unknown, the model cannot be exported in this format, or
            its predictions differ. No folder is left behind then.
    """
    if target.lower() == "gguf":
        raise UserError(
            "an export is for a program, not of a format: llama.cpp (--to llama.cpp) gets a GGUF, "
            "which whatever is built on it reads too."
        )
    exporter = EXPORTERS.load(target)()
    output = output.absolute()
    check_new(output)
    files = resolve_model(model)
    if adapter is not None:
        if not exporter.adapters:
            raise UserError(f"--adapter works only with --to llama.cpp, not {target}.")
        files = with_adapter(files, Path(adapter))
    job = ExportJob(files, data)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as part:
        part.mkdir()
        use = exporter.write(job, part)
        for mark, place in (("'FOLDER'", repr(str(output))), ("FOLDER", shlex.quote(str(output)))):
            use = use.replace(mark, place)
        use = "\n".join([*(f"# read back: {line}" for line in job.found), use])
        for file in part.rglob("*.yaml"):  # tasks contain absolute paths of their data files
            text = file.read_text("utf-8").replace(str(part), str(output))
            file.write_text(text, encoding="utf-8")
        (part / USE).write_text(f"{use}\n", encoding="utf-8")
    return str(use)
