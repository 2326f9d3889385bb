"""One way to write down what was done to a model: the last step of every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from galenic.artifact.licence import CARD
from galenic.artifact.manifest import Manifest, Parent, Stage, versions, write_manifest
from galenic.models.files import ModelFiles

__all__ = ["Method", "NamedMethod", "record_stage"]


class Method(Protocol):
    """What was done: a method of a registry, or the same facts of something else."""

    @property
    def name(self) -> str:
        """Registry name."""

    @property
    def reference_url(self) -> str:
        """Its paper."""


class NamedMethod(NamedTuple):
    """A method that stands in no registry: its name and its paper."""

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
    """Write the manifest of a folder whose other files are finished: the earlier stages, then this.

    Args:
        folder: what the stage has made.
        stage: what kind, for example ``"prune"``.
        method: what was done.
        parent: the model that it was done to.
        earlier: manifests whose stages come first; None where there is no manifest.
        libraries: whose versions are noted beside those of Python and Galenic.
        card: makes the text of the model card from the stage; None writes none.
        calibration: the text that was read; None without.
        facts: the other fields of `galenic.artifact.manifest.Stage`: ``options``, ``parameters``,
            ``sizes``, ``notes``, ``checks``, and ``removed``, which is nothing by default.
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
