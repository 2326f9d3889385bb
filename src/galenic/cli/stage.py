"""What commands that do one stage to a model have in common."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.cli.flags import parse_config, parse_method
from galenic.cli.output import say
from galenic.registry import Registry

if TYPE_CHECKING:
    from pydantic import BaseModel

    from galenic.artifact.manifest import Manifest

__all__ = ["LESS", "run_stage", "say_if_sample"]


LESS = "a smaller --num-samples shortens what reads text"
"""Of calibration text, which most of the time goes into."""


def say_if_sample(data: str | None) -> None:
    """Say that a result is a demonstration where the embedded handbook calibrates it."""
    from galenic.data.demonstration import DEMONSTRATION

    if data == "sample":
        say(DEMONSTRATION)


def run_stage(
    config_type: type[BaseModel],
    methods: Registry,
    stage: str,
    output: Path,
    values: dict[str, Any],
) -> tuple[Manifest, Any]:
    """Do a stage with the flags that a user gave.

    Args:
        config_type: of the stage; its fields are among the flags.
        methods: of the stage; ``method`` among the fields names one, whose options are the others.
        stage: ``"module:function"`` that does it, imported when all flags are right, for that
            takes seconds.
        output: the folder to make.
        values: every flag.

    Returns:
        The manifest, and the method.

    Raises:
        UserError: a flag is not allowed, the folder exists, or as the stage.
    """
    from galenic.artifact.manifest import check_new
    from galenic.cli.progress import watched

    own = {name: values.pop(name) for name in config_type.model_fields}
    config: Any = parse_config(config_type, own)
    method = parse_method(methods, config.method, values)
    check_new(output)
    say_if_sample(getattr(config, "data", None))
    module, _, function = stage.partition(":")
    run = getattr(import_module(module), function)
    with watched(f"Nothing was written to {output}.", less=LESS) as watcher:
        return run(config, method, output, watcher), method
