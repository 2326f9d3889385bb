"""Record a stage in the manifest of its output folder: the last step of every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from galenic.artifact.licence import CARD
from galenic.artifact.manifest import Manifest, Parent, Stage, versions, write_manifest
from galenic.models.files import ModelFiles

__all__ = ["Method", "NamedMethod", "record_stage"]


class Method(Protocol):
    """Name and reference of a method, registered or not (`NamedMethod`)."""

    @property
    def name(self) -> str:
        """Registry name."""

    @property
    def reference_url(self) -> str:
        """URL of the method's paper."""


class NamedMethod(NamedTuple):
    """A method that is not registered: its name and the URL of its paper."""

    name: str
    reference_url: str


def record_stage(
    folder: Path,
    stage: str,
    method: Method,
    parent: ModelFiles,
    *,
    earlier: Iterable[Manifest | None] = (),
    libraries: Iterable[str] = (),
    card: Callable[[Stage], str] | None = None,
    calibration: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Manifest:
    """Write the manifest of a folder whose other files are complete: earlier stages, then this one.

    Args:
        folder: output folder of the stage.
        stage: kind of stage, for example ``"prune"``.
        method: the method used.
        parent: input model of the stage.
        earlier: manifests whose stages come first; None entries are skipped.
        libraries: libraries whose versions are recorded besides Python and Galenic.
        card: function that returns the text of the model card for the stage; None writes no card.
        calibration: description of the calibration text; None if there was none.
        facts: the other fields of `galenic.artifact.manifest.Stage`: ``options``, ``parameters``,
            ``sizes``, ``notes``, ``checks``, and ``removed`` (zero by default).
    """
    done = Stage(
        stage=stage,
        method=method.name,
        reference_url=method.reference_url,
        parent=Parent(name=parent.name, sha256=parent.sha256),
        calibration=None if calibration is None else dict(calibration),
        versions=versions(*libraries),
        **{"removed": {"blocks": 0.0, "whole": 0.0}, **facts},
    )
    if card is not None:
        (folder / CARD).write_text(card(done), encoding="utf-8", newline="\n")
    before = [one for manifest in earlier if manifest for one in manifest.stages]
    return write_manifest(folder, [*before, done])
