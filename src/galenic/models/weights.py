"""Check that a folder's weights match its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.configuration import loading, read_configuration
from galenic.models.quiet import quiet_transformers
from galenic.models.tensors import read_table

__all__ = ["IGNORED", "check_weights", "load_causal"]

IGNORED = "rotary_emb.inv_freq"
"""Rotary frequencies, which older versions of transformers saved and no version reads."""


def check_weights(folder: Path, name: str) -> None:
    """Check names and shapes of a folder's weights without reading their values.

    Quantized models are skipped; `load_causal` checks them when they are loaded.

    Args:
        folder: a Hugging Face model.
        name: name of the model, for error messages.

    Raises:
        UserError: transformers cannot read the model, or a tensor is missing, unexpected or of the
            wrong shape.
    """
    config = read_configuration(folder, name)
    if getattr(config, "quantization_config", None) is not None:
        return
    with loading(name):
        load_causal(folder, config, name, device_map="meta")


def load_causal(folder: Path, config: Any, name: str, **options: Any) -> Any:
    """``AutoModelForCausalLM.from_pretrained`` that raises instead of initialising weights.

    transformers itself initialises missing and misshapen tensors at random, and ignores unexpected
    ones; its report about them is silenced here.

    Args:
        folder: a Hugging Face model.
        config: its configuration.
        name: name of the model, for error messages.
        options: further arguments of ``from_pretrained``.

    Returns:
        The model, with all weights read from the folder.

    Raises:
        UserError: a tensor is missing, unexpected or of the wrong shape.
        ValueError, OSError, KeyError, ImportError, RuntimeError: as transformers raises them.
    """
    import transformers

    with quiet_transformers(), _no_report():
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    _refuse("lacks {n} tensors of the model", name, found["missing_keys"])
    _refuse(
        "holds {n} tensors that its configuration has no place for",
        name,
        (key for key in found["unexpected_keys"] if not key.endswith(IGNORED)),
    )
    _refuse(
        "holds {n} tensors of another shape than its configuration says",
        name,
        (key if isinstance(key, str) else key[0] for key in found["mismatched_keys"]),
    )
    if getattr(config, "quantization_config", None) is None:
        _refuse(
            "stores {n} tensors as whole numbers without their scale", name, _whole(folder, model)
        )
    return model


def _whole(folder: Path, model: Any) -> list[str]:
    """Names of weights that the files hold as integers; transformers would cast them."""
    floats = {key for key, value in model.state_dict().items() if value.is_floating_point()}
    return [
        key
        for file in folder.glob("*.safetensors")
        for key, tensor in read_table(file).items()
        if key in floats and tensor.dtype[0] in "IU"
    ]


def _refuse(what: str, name: str, keys: Iterable[str]) -> None:
    if odd := sorted(keys):
        raise UserError(
            f"{name} {what.format(n=len(odd))}, among them {odd[0]}. Its config.json and its "
            "weights do not belong together, or a file is damaged: download or save it again."
        )


@contextmanager
def _no_report() -> Iterator[None]:
    """Silence the warnings and the load report of transformers."""
    from transformers.utils import logging as messages

    before = messages.get_verbosity()
    messages.set_verbosity_error()
    try:
        yield
    finally:
        messages.set_verbosity(before)
