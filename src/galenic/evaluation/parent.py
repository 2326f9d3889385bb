"""Choice of the reference model: the one named, or the one the model was made from."""

from __future__ import annotations

from galenic.artifact.manifest import read_manifest
from galenic.cache import Progress
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model

__all__ = ["find_reference"]

NONE = "none"


def find_reference(
    model: ModelFiles, against: str | None, *, progress: Progress | None = None
) -> ModelFiles | None:
    """Find the model to compare with; None for no comparison.

    Args:
        model: the model that is measured.
        against: a model's name; ``"none"`` for no comparison; None = the first parent in the
            model's manifest, if it has one.
        progress: called while a large file is downloaded or hashed.

    Raises:
        UserError: the reference is missing, or its hash is not the one in the manifest.
    """
    if against == NONE:
        return None
    if against is not None:
        return resolve_model(against, progress=progress)
    folder = model.path if model.kind == "folder" else model.path.parent
    manifest = read_manifest(folder)
    if manifest is None or not manifest.stages:
        return None
    parent = manifest.stages[0].parent
    other = f"Name the model to compare with by --against, or --against {NONE} for none."
    try:
        found = resolve_model(parent.name, progress=progress)
    except UserError as error:
        raise UserError(
            f"{model.name} was made from {parent.name}, which is not found: {error} {other}"
        ) from error
    if found.sha256 != parent.sha256:
        raise UserError(
            f"{model.name} was made from {parent.name}, but what has that name now has other "
            f"weights (SHA-256 {found.sha256[:12]}, not {parent.sha256[:12]}). {other}"
        )
    return found
