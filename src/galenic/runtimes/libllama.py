"""ctypes bindings for the C API of a prebuilt llama.cpp library; no server or compiler needed.

Functions keep their C names and are documented in
https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h. Parameter structs change between
builds without notice, so the default values are checked against the layout below before use, and
a library that does not match is refused.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import sys
from collections import deque
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int32, c_void_p
from typing import Any, ClassVar

from galenic.cache import file_sha256
from galenic.errors import UserError
from galenic.runtimes.libllama_find import ENVIRONMENT, LibraryFiles, find_library

__all__ = ["ContextParams", "LibLlama", "LlamaBatch", "ModelParams", "load_library"]

logger = logging.getLogger("galenic.llama")

_PADDING = 512  # bytes after the known fields, for builds with more fields
_LOG_LEVELS = {3: logging.INFO, 4: logging.INFO}  # warnings and errors; failures also raise
_LOG_CALLBACK = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
_log_callbacks: list[Any] = []  # C keeps the pointers, so they must not be freed


class ModelParams(Structure):
    """``llama_model_params``, padded for builds with additional fields."""

    _fields_: ClassVar = [
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
        ("padding", ctypes.c_uint8 * _PADDING),
    ]


class ContextParams(Structure):
    """``llama_context_params``, padded for builds with additional fields."""

    _fields_: ClassVar = [
        ("n_ctx", c_int32),
        ("n_batch", c_int32),
        ("n_ubatch", c_int32),
        ("n_seq_max", c_int32),
        ("n_rs_seq", c_int32),
        ("n_outputs_max", c_int32),
        ("n_outputs_max_per_seq", c_int32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int32),
        ("rope_scaling_type", c_int32),
        ("pooling_type", c_int32),
        ("attention_type", c_int32),
        ("flash_attn_type", c_int32),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_int32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("reserved", c_void_p),  # null in both builds; we never set it
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("padding", ctypes.c_uint8 * _PADDING),
    ]


class LlamaBatch(Structure):
    """``llama_batch``: passed by value, so its size must be exact."""

    _fields_: ClassVar = [
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    ]


_MODEL_DEFAULTS: dict[str, float] = {
    "devices": 0, "tensor_buft_overrides": 0, "n_gpu_layers": -1, "split_mode": 1, "main_gpu": 0,
    "tensor_split": 0, "kv_overrides": 0, "vocab_only": 0, "check_tensors": 0,
    "use_extra_bufts": 1, "no_host": 0, "no_alloc": 0,
}  # fmt: skip
_FIRST_DEFAULTS: dict[str, float] = {"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1}
_CONTEXT_DEFAULTS: dict[str, float] = {
    **_FIRST_DEFAULTS,
    "n_outputs_max": 0, "n_outputs_max_per_seq": 1, "n_threads": 4, "n_threads_batch": 4,
    "ctx_type": 0, "rope_scaling_type": -1, "pooling_type": -1, "attention_type": -1,
    "flash_attn_type": -1, "rope_freq_base": 0, "rope_freq_scale": 0, "yarn_ext_factor": -1,
    "yarn_attn_factor": -1, "yarn_beta_fast": -1, "yarn_beta_slow": -1, "yarn_orig_ctx": 0,
    "defrag_thold": -1, "type_k": 1, "type_v": 1, "embeddings": 0, "offload_kqv": 1, "no_perf": 1,
    "op_offload": 1, "swa_full": 1, "kv_unified": 0,
}  # fmt: skip

_INT, _PTR, _STR, _BOOL = c_int32, c_void_p, c_char_p, c_bool
_INTS = POINTER(c_int32)
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_log_set": (None, (_LOG_CALLBACK, _PTR)),
    "llama_backend_init": (None, ()),
    "llama_print_system_info": (_STR, ()),
    "llama_model_default_params": (ModelParams, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_model_load_from_file": (_PTR, (_STR, ModelParams)),
    "llama_model_free": (None, (_PTR,)),
    "llama_model_get_vocab": (_PTR, (_PTR,)),
    "llama_model_meta_val_str": (_INT, (_PTR, _STR, _STR, ctypes.c_size_t)),
    "llama_model_n_params": (ctypes.c_uint64, (_PTR,)),
    "llama_model_n_ctx_train": (_INT, (_PTR,)),
    "llama_model_n_layer": (_INT, (_PTR,)),
    "llama_model_n_embd": (_INT, (_PTR,)),
    "llama_model_n_head": (_INT, (_PTR,)),
    "llama_model_n_head_kv": (_INT, (_PTR,)),
    "llama_model_has_encoder": (_BOOL, (_PTR,)),
    "llama_model_is_recurrent": (_BOOL, (_PTR,)),
    "llama_model_is_hybrid": (_BOOL, (_PTR,)),
    "llama_model_chat_template": (_STR, (_PTR, _STR)),
    "llama_vocab_n_tokens": (_INT, (_PTR,)),
    "llama_vocab_get_text": (_STR, (_PTR, _INT)),
    "llama_vocab_get_attr": (_INT, (_PTR, _INT)),
    "llama_vocab_get_add_eos": (_BOOL, (_PTR,)),
    "llama_vocab_is_eog": (_BOOL, (_PTR, _INT)),
    "llama_vocab_is_control": (_BOOL, (_PTR, _INT)),
    "llama_vocab_bos": (_INT, (_PTR,)),
    "llama_vocab_eos": (_INT, (_PTR,)),
    "llama_vocab_pad": (_INT, (_PTR,)),
    "llama_tokenize": (_INT, (_PTR, _STR, _INT, _INTS, _INT, _BOOL, _BOOL)),
    "llama_detokenize": (_INT, (_PTR, _INTS, _INT, _STR, _INT, _BOOL, _BOOL)),
    "llama_init_from_model": (_PTR, (_PTR, ContextParams)),
    "llama_free": (None, (_PTR,)),
    "llama_n_ctx": (ctypes.c_uint32, (_PTR,)),
    "llama_n_batch": (ctypes.c_uint32, (_PTR,)),
    "llama_n_ubatch": (ctypes.c_uint32, (_PTR,)),
    "llama_n_seq_max": (ctypes.c_uint32, (_PTR,)),
    "llama_n_threads": (_INT, (_PTR,)),
    "llama_set_n_threads": (None, (_PTR, _INT, _INT)),
    "llama_get_memory": (_PTR, (_PTR,)),
    "llama_memory_clear": (None, (_PTR, _BOOL)),
    "llama_memory_seq_rm": (_BOOL, (_PTR, _INT, _INT, _INT)),
    "llama_memory_seq_cp": (None, (_PTR, _INT, _INT, _INT, _INT)),
    "llama_decode": (_INT, (_PTR, LlamaBatch)),
    "llama_get_logits_ith": (_PTR, (_PTR, _INT)),
    "llama_adapter_lora_init": (_PTR, (_PTR, _STR)),
    "llama_set_adapters_lora": (_INT, (_PTR, _PTR, ctypes.c_size_t, _PTR)),
    "ggml_quantize_init": (None, (_INT,)),
    "ggml_quantize_requires_imatrix": (_BOOL, (_INT,)),
    "ggml_quantize_chunk": (
        ctypes.c_size_t,
        (_INT, _PTR, _PTR, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, _PTR),
    ),
    "ggml_get_type_traits": (_PTR, (_INT,)),
    "ggml_backend_load": (_PTR, (_STR,)),
    "ggml_backend_load_all_from_path": (None, (_STR,)),
    "ggml_backend_dev_by_type": (_PTR, (_INT,)),
}
_VERSIONS = ("llama_version", "ggml_version", "ggml_commit")  # newer builds only


class LibLlama:
    """A loaded llama.cpp library: C functions as attributes, and its latest log messages.

    Args:
        files: library files, from `find_library`.

    Raises:
        UserError: the files cannot be loaded, a function is missing, a parameter struct has an
            unknown layout, or there is no CPU backend.
    """

    def __init__(self, files: LibraryFiles) -> None:
        self.files = files
        self.log: deque[str] = deque(maxlen=20)
        self.verified = False  # set by the self-test
        self._handles = _open(files)
        self._functions: dict[str, Any] = {}
        for name, (result, arguments) in _PROTOTYPES.items():
            function = self._find(name)
            if function is None:
                raise UserError(
                    f"{files.name} has no function {name}: {files.library} is not a llama.cpp "
                    "library or is too old or too new. Use the packaged one (unset "
                    "GALENIC_LIBLLAMA)."
                )
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function
        callback = _LOG_CALLBACK(self._on_log)
        _log_callbacks.append(callback)
        self.llama_log_set(callback, None)
        self.check_layout()
        self._load_backends()
        self.llama_backend_init()

    def __getattr__(self, name: str) -> Any:
        functions = self.__dict__.get("_functions", {})
        if name not in functions:
            raise AttributeError(name)
        return functions[name]

    @functools.cached_property
    def sha256(self) -> str:
        """Hash over the SHA-256 digests of all its files, backends included."""
        files = (self.files.library, *self.files.needs, *self.files.backends)
        return hashlib.sha256("\n".join(file_sha256(file) for file in files).encode()).hexdigest()

    @property
    def build(self) -> str:
        """Version reported by the library, for example ``"0.6.0-dev, ggml 0.26.0 86a2835"``."""
        llama, ggml, commit = (self._version(name) for name in _VERSIONS)
        known = [commit] if commit and commit != "unknown" else []
        return ", ".join([*([llama] if llama else []), " ".join(["ggml", ggml, *known]).strip()])

    @property
    def system_info(self) -> str:
        """Instruction sets and build options of the CPU backend."""
        return str(self.llama_print_system_info().decode()).strip(" |\n")

    def check_layout(self) -> None:
        """Check the default parameter values against the known struct layout.

        Raises:
            UserError: they differ, so the layout of the structs is unknown.
        """
        context = self.llama_context_default_params()
        _compare(self.files, context, _FIRST_DEFAULTS)
        _compare(self.files, context, _CONTEXT_DEFAULTS)
        _compare(self.files, self.llama_model_default_params(), _MODEL_DEFAULTS)

    def last_log(self) -> str:
        """Last three warnings or errors that the library logged, for error messages."""
        return " / ".join(list(self.log)[-3:]) or "no message"

    def _find(self, name: str) -> Any:
        for handle in self._handles:
            try:
                return handle[name]
            except AttributeError:
                continue
        return None

    def _version(self, name: str) -> str:
        function = self._find(name)
        if function is None:
            return ""
        function.restype = c_char_p
        return str(function().decode())

    def _on_log(self, level: int, text: bytes, _data: int | None) -> None:
        line = text.decode(errors="replace").strip()
        if line.strip("."):
            logger.log(_LOG_LEVELS.get(level, logging.DEBUG), line)
            if level in _LOG_LEVELS:
                self.log.append(line)

    def _load_backends(self) -> None:
        backends = self.files.backends
        if len(backends) == 1:
            self.ggml_backend_load(str(backends[0]).encode())
        elif backends:  # one per CPU generation: the library picks the best supported one
            self.ggml_backend_load_all_from_path(str(backends[0].parent).encode())
        if not self.ggml_backend_dev_by_type(0):
            raise UserError(
                f"{self.files.name} has no CPU backend that loads here "
                f"({', '.join(path.name for path in backends) or 'no libggml-cpu beside it'}): "
                f"{self.last_log()}. Use the packaged library (unset GALENIC_LIBLLAMA)."
            )


_loaded: list[LibLlama] = []  # at most one: two builds in one process would mix their symbols


def load_library() -> LibLlama:
    """Return the library of this process, loading it on the first call.

    Raises:
        UserError: the library is missing or refused, or the environment now selects another one.
    """
    return _load(os.environ.get(ENVIRONMENT))


@functools.cache  # quantizing asks for each row of blocks, and finding the files takes 10 ms
def _load(choice: str | None) -> LibLlama:
    files = find_library(choice)
    if not _loaded:
        _loaded.append(LibLlama(files))
    if _loaded[0].files != files:
        raise UserError(
            f"this process already uses {_loaded[0].files.name} and cannot load {files.name} "
            "besides: set GALENIC_LIBLLAMA before the program starts."
        )
    return _loaded[0]


def _open(files: LibraryFiles) -> list[ctypes.CDLL]:
    """Load the library and its dependencies; functions are looked up in the returned order."""
    folders: list[Any] = []
    if sys.platform == "win32":
        parents = {path.parent for path in (files.library, *files.needs, *files.backends)}
        folders = [os.add_dll_directory(str(parent)) for parent in parents]
    try:
        needs = [ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL) for path in files.needs]
        return [ctypes.CDLL(str(files.library)), *needs]
    except OSError as error:
        raise UserError(
            f"the llama.cpp library {files.name} does not load: {error}. "
            "Use the packaged one (unset GALENIC_LIBLLAMA)."
        ) from error
    finally:
        for folder in folders:
            folder.close()


def _compare(files: LibraryFiles, params: Structure, expected: dict[str, float]) -> None:
    for field, value in expected.items():
        given = getattr(params, field) or 0  # null pointers read as None
        if given != value:
            raise UserError(
                f"{files.name} has parameters that this version of Galenic does not know "
                f"({type(params).__name__}.{field} is {given} by default, {value} expected): "
                f"refusing {files.library}. Use the packaged library (unset GALENIC_LIBLLAMA)."
            )
