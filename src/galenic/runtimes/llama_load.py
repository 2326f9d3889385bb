"""Load models and adapters with a llama.cpp library, on the CPU only."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import ClassVar

from galenic.errors import UserError
from galenic.runtimes.libllama import LibLlama

__all__ = ["load_adapter", "load_model"]

_LOAD_MODE_MMAP = 1
_BOOL = 2  # LLAMA_KV_OVERRIDE_TYPE_BOOL


class _Override(ctypes.Structure):
    """``llama_model_kv_override`` with a truth value; the last of a list has an empty key."""

    _fields_: ClassVar = [
        ("tag", ctypes.c_int32),
        ("key", ctypes.c_char * 128),
        ("value", ctypes.c_int64),
        ("rest", ctypes.c_char * 120),
    ]


def load_model(
    library: LibLlama, path: Path, *, vocab_only: bool = False, space_prefix: bool | None = None
) -> int:
    """Load a GGUF with memory-mapped weights; returns the library's handle of the model.

    Args:
        library: the library.
        path: the file.
        vocab_only: whether to load the vocabulary and no weights.
        space_prefix: what counts instead of ``tokenizer.ggml.add_space_prefix`` of the file.

    Raises:
        UserError: the file does not exist, is not a GGUF, or the library cannot load it.
    """
    if not path.is_file():
        raise UserError(f"no such model file: {path}")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError(f"{path} is not a GGUF file (it does not begin with 'GGUF').")
    params = library.llama_model_default_params()
    no_devices = (ctypes.c_void_p * 1)(None)  # an empty list (not null) means: CPU only
    params.devices = ctypes.addressof(no_devices)
    params.n_gpu_layers = 0
    params.load_mode = _LOAD_MODE_MMAP
    params.vocab_only = vocab_only
    if space_prefix is not None:
        told = (_Override * 2)()
        told[0].tag, told[0].value = _BOOL, int(space_prefix)
        told[0].key = b"tokenizer.ggml.add_space_prefix"
        params.kv_overrides = ctypes.addressof(told)
    library.log.clear()
    model = library.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise UserError(
            f"llama.cpp cannot load {path}: {library.last_log()}. The file may be damaged or its "
            "architecture unknown to this build; download it again or choose another model."
        )
    return int(model)


def load_adapter(library: LibLlama, model: int, path: Path) -> int:
    """Load a LoRA adapter; returns the library's handle, which is freed with its model.

    Raises:
        UserError: the library cannot load the adapter; the model is then freed as well.
    """
    library.log.clear()
    adapter = library.llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        library.llama_model_free(model)
        raise UserError(f"llama.cpp cannot load the adapter {path}: {library.last_log()}.")
    return int(adapter)
