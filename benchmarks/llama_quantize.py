"""Quantize by llama.cpp's own quantizer, called in its library.

    python benchmarks/llama_quantize.py dense.gguf out/model.gguf IQ3_S --imatrix importance.gguf

The importance file is what `galenic quantize --save-imatrix` and ``llama-imatrix`` write.
Parameters are laid out as in ``llama.h`` (llama_model_quantize_params); another layout is refused.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from pathlib import Path

import numpy as np

from galenic.compression.quantize.imatrix import COUNTS, SUMS
from galenic.runtimes.libllama import load_library
from galenic.runtimes.threads import choose_threads

FILE_TYPES = {"Q4_0": 2, "Q3_K_M": 12, "Q4_K_M": 15, "IQ3_S": 26, "IQ4_NL": 25, "IQ4_XS": 30}
"""``llama_ftype`` of llama.h: a mix of types each, unless pure."""


class Params(ctypes.Structure):
    """llama_model_quantize_params, with room for more."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("threads", "ftype", "output", "embedding")),
        *((name, ctypes.c_bool) for name in ("requantize", "quantize_output", "only_copy")),
        *((name, ctypes.c_bool) for name in ("pure", "keep_split", "dry_run")),
        *((name, ctypes.c_void_p) for name in ("imatrix", "overrides", "types", "layers")),
        ("rest", ctypes.c_uint8 * 512),
    )


class Importance(ctypes.Structure):
    """llama_model_imatrix_data."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("values", ctypes.POINTER(ctypes.c_float)),
        ("size", ctypes.c_size_t),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("type", choices=FILE_TYPES)
    parser.add_argument("--pure", action="store_true", help="every matrix in that type")
    parser.add_argument("--imatrix", help="importance, GGUF form")
    options = parser.parse_args()
    library = load_library()
    params = usual(library)
    params.threads, params.ftype = choose_threads(), FILE_TYPES[options.type]
    params.requantize, params.pure = True, options.pure
    kept = read(Path(options.imatrix)) if options.imatrix else []
    table = (Importance * (len(kept) + 1))()  # the last, without a name, ends it
    for entry, (name, values) in zip(table, kept, strict=False):
        entry.name, entry.size = name.encode(), values.size
        entry.values = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    if kept:
        params.imatrix = ctypes.cast(table, ctypes.c_void_p)
    quantize = library._find("llama_model_quantize")
    quantize.restype, quantize.argtypes = (
        ctypes.c_uint32,
        (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p),
    )
    if quantize(options.source.encode(), options.target.encode(), ctypes.byref(params)):
        sys.exit(library.last_log())


def usual(library: object) -> Params:
    """The library's defaults; ends where they are laid out otherwise."""
    defaults = library._find("llama_model_quantize_default_params")  # type: ignore[attr-defined]
    defaults.restype, defaults.argtypes = Params, ()
    params: Params = defaults()
    found = [getattr(params, name) for name, _ in Params._fields_[:-1]]
    if (
        found[0] != 0
        or found[2] != found[3]
        or found[4:] != [False, True] + 4 * [False] + 4 * [None]
    ):
        sys.exit(f"the library's parameters are laid out otherwise: {found}")
    return params


def read(path: Path) -> list[tuple[str, np.ndarray]]:
    """Name and mean squared inputs of each matrix of an importance file."""
    from gguf import GGUFReader

    found = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    return [
        (
            name.removesuffix(SUMS),
            (sums.ravel() / found[name.replace(SUMS, COUNTS)].ravel()).astype(np.float32),
        )
        for name, sums in found.items()
        if name.endswith(SUMS)
    ]


if __name__ == "__main__":
    main()
