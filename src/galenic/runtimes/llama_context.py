"""A llama.cpp context: computes token rows in tiles, keeps prefixes in its cache, gives logits."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import psutil
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.runtimes.libllama import LibLlama, LlamaBatch
from galenic.runtimes.tiles import FEWEST, Rows, fill, parts
from galenic.runtimes.tree import common_prefix_length

__all__ = ["MAX_LEAVES", "Interrupted", "LlamaContext"]

_SEQUENCES = 256  # maximum number of sequences in llama.cpp
_PREFIX = 0  # sequence that holds the prefix
_TWIN = _SEQUENCES - 1  # sequence of the rows that only fill up a tile
MAX_LEAVES = _SEQUENCES - 2
_UBATCH = 64
_SMALLEST_CONTEXT = 1024
_KV_BYTES = 2  # flash attention uses float16 keys and values, so they are stored as float16
_GGML_TYPE_F16 = 1
_FLASH_ATTENTION_ON = 1  # only its kernel skips the cache cells of other texts


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """Raised when the caller no longer wants the text (``should_continue`` returned False)."""


class LlamaContext:
    """The context (key/value cache) of a model, created on demand and enlarged when needed.

    Args:
        library: the loaded library.
        model: library handle of the model.
        threads: number of compute threads.
        adapter: library handle of a LoRA adapter, or None.
    """

    def __init__(
        self, library: LibLlama, model: int, *, threads: int, adapter: int | None = None
    ) -> None:
        self._library = library
        self._adapter = adapter
        self._model = model
        self._threads = threads
        self._vocab_size = int(library.llama_vocab_n_tokens(library.llama_model_get_vocab(model)))
        self._context: int | None = None
        self._memory: int | None = None
        self._prefix: tuple[int, ...] | None = None
        self._begun: tuple[int, ...] = ()

    def reserve(self, length: int) -> None:
        """Make sure that the context has room for a text of ``length`` tokens.

        Raises:
            UserError: too little memory is free, or the library cannot create such a context.
        """
        cells = length + FEWEST
        if self._context is not None and cells <= self._library.llama_n_ctx(self._context):
            return
        self.close()
        size = _context_size(cells)
        self._check_memory(size)
        self._make(size)
        self._check_made(cells)
        self._memory = self._library.llama_get_memory(self._context)

    def begin(
        self, tokens: Sequence[int], should_continue: Callable[[], bool] = lambda: True
    ) -> NDArray[np.float32]:
        """Compute a text, reusing what it shares with the previous one; see `LlamaEngine.start`."""
        shared = self._keep_begun(tokens)
        first, last = 0, 0
        for first, last in parts(shared, len(tokens)):
            if not should_continue():
                self.forget()
                raise Interrupted
            self._run_part(tokens, first, last, read_last=last == len(tokens))
        self._begun = tuple(tokens)
        return self.logits(last - first - 1)

    def step(self, token: int, position: int) -> NDArray[np.float32]:
        """Append one token to the current text; returns the logits after it, shape (vocab,)."""
        one = np.array([token], dtype=np.int32)
        at = np.array([position], dtype=np.int32)
        self._decode(Rows(one, at, [(_PREFIX,)], np.ones(1, dtype=np.int8)))
        return self.logits(0)

    def follow(self, tokens: Sequence[int], first: int) -> Iterator[NDArray[np.float32]]:
        """Yield logits after each token from position ``first`` on, shape (vocab,).

        Each array is valid until the next is requested. Tokens before ``first`` that the text
        shares with the previous one are not computed again.
        """
        ids, positions = np.array(tokens, dtype=np.int32), np.arange(len(tokens), dtype=np.int32)
        for start, end in parts(self._keep_begun(tokens, first), len(ids)):
            part, size = slice(start, end), end - start
            wanted = (positions[part] >= first).astype(np.int8)
            self.run(Rows(ids[part], positions[part], [(_PREFIX,)] * size, wanted))
            self._begun = tuple(tokens[:end])
            for row in np.flatnonzero(wanted):
                yield self.logits(int(row))

    def after(self, tokens: Sequence[int], ends: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Yield the logits after ``tokens`` and each of the ends, shape (vocab,).

        The ends are computed in one batch, and so is what is missing of ``tokens``. Each array is
        valid until the next is requested.
        """
        for start, end in parts(self._keep_begun(tokens, len(tokens)), len(tokens)):
            self._run_part(tokens, start, end, read_last=False)
        self._begun = tuple(tokens)
        lib, sequences = self._library, range(_PREFIX + 1, _PREFIX + 1 + len(ends))
        for sequence in sequences:
            lib.llama_memory_seq_cp(self._memory, _PREFIX, sequence, -1, -1)
        try:
            ids, positions = (
                np.array(ends, dtype=np.int32),
                np.full(len(ends), len(tokens), np.int32),
            )
            wanted = np.ones(len(ends), dtype=np.int8)
            self.run(Rows(ids, positions, [(sequence,) for sequence in sequences], wanted))
            for row in range(len(ends)):
                yield self.logits(row)
        finally:
            for sequence in sequences:
                lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def keep_prefix(self, prefix: tuple[int, ...]) -> None:
        """Compute the common prefix of trees, unless it is already in the cache."""
        if prefix == self._prefix:
            return
        self.forget()
        for first, last in parts(0, len(prefix)):
            self._run_part(prefix, first, last, read_last=False)
        self._prefix = prefix

    @contextmanager
    def branches(self, number: int) -> Iterator[Sequence[int]]:
        """Context manager that yields ``number`` sequences that start with the kept prefix.

        Their tokens are removed from the cache on exit.
        """
        lib, sequences = self._library, range(_PREFIX + 1, _PREFIX + 1 + number)
        try:
            for sequence in sequences if self._prefix else ():
                lib.llama_memory_seq_cp(self._memory, _PREFIX, sequence, -1, -1)
            yield sequences
        finally:
            for sequence in sequences:
                lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def run(self, rows: Rows) -> None:
        """Compute rows in whole tiles; so is the last layer, which only computes wanted rows.

        Args:
            rows: at most `galenic.runtimes.tiles.ROWS` rows.
        """
        filled = fill(rows, twin=_TWIN)
        self._decode(filled)
        if len(filled) > len(rows):
            self._library.llama_memory_seq_rm(self._memory, _TWIN, -1, -1)

    def logits(self, row: int) -> NDArray[np.float32]:
        """Logits of a row of the last batch, shape (vocab,), as a view of the library's memory."""
        address = self._library.llama_get_logits_ith(self._context, row)
        if not address:
            raise RuntimeError(f"no logits for row {row}: {self._library.last_log()}")
        return np.ctypeslib.as_array((ctypes.c_float * self._vocab_size).from_address(address))

    def forget(self) -> None:
        """Clear the cache, so that the next text is computed from its first token."""
        self._prefix, self._begun = None, ()
        if self._memory is not None:
            self._library.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free the context. May be called more than once; it is created again on demand."""
        if self._context is not None:
            self._library.llama_free(self._context)
        self._context = self._memory = self._prefix = None
        self._begun = ()

    def _keep_begun(self, tokens: Sequence[int], most: int | None = None) -> int:
        """Keep only what the text shares with the previous one in the cache; return its length.

        At most ``most`` tokens are kept, by default all but the last, whose logits are needed.
        """
        shared = common_prefix_length([self._begun, tuple(tokens)])
        shared = min(shared, len(tokens) - 1 if most is None else most)
        if not shared:
            self.forget()
            return 0
        self._prefix, self._begun = None, ()
        self._library.llama_memory_seq_rm(self._memory, _PREFIX, shared, -1)
        return shared

    def _run_part(self, tokens: Sequence[int], first: int, last: int, *, read_last: bool) -> None:
        """Compute tokens [first, last) of a single text; ``read_last`` requests logits after it."""
        ids = np.array(tokens[first:last], dtype=np.int32)
        wanted = np.zeros(len(ids), dtype=np.int8)
        wanted[-1:] = read_last
        positions = np.arange(first, last, dtype=np.int32)
        self.run(Rows(ids, positions, [(_PREFIX,)] * len(ids), wanted))

    def _decode(self, rows: Rows) -> None:
        """Compute rows without filling tiles; logits are available for the wanted ones."""
        tokens, positions, wanted = map(
            np.ascontiguousarray, (rows.tokens, rows.positions, rows.wanted)
        )
        counts = np.array([len(row) for row in rows.sequences], dtype=np.int32)
        flat = np.array([number for row in rows.sequences for number in row], dtype=np.int32)
        starts = np.concatenate([[0], np.cumsum(counts[:-1])])
        pointers = (flat.ctypes.data + flat.itemsize * starts).astype(np.uintp)
        batch = LlamaBatch(
            n_tokens=len(tokens),
            token=tokens.ctypes.data,
            pos=positions.ctypes.data,
            n_seq_id=counts.ctypes.data,
            seq_id=pointers.ctypes.data,
            logits=wanted.ctypes.data,
        )
        self._library.log.clear()
        status = self._library.llama_decode(self._context, batch)
        if status != 0:
            self._prefix, self._begun = None, ()
            raise RuntimeError(f"llama_decode failed ({status}): {self._library.last_log()}")

    def _make(self, size: int) -> None:
        lib = self._library
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = size, _SEQUENCES, _UBATCH
        params.n_seq_max = _SEQUENCES  # must not exceed n_batch, or llama.cpp aborts
        params.n_outputs_max_per_seq = 0  # no limit: every row of a path may be read
        params.n_threads = params.n_threads_batch = self._threads
        params.type_k = params.type_v = _GGML_TYPE_F16
        params.flash_attn_type = _FLASH_ATTENTION_ON
        params.kv_unified = True  # a row may belong to many sequences
        params.embeddings = params.offload_kqv = params.op_offload = False
        lib.log.clear()
        self._context = lib.llama_init_from_model(self._model, params)
        if not self._context:
            raise UserError(f"llama.cpp cannot make a context of {size} tokens: {lib.last_log()}")
        if self._adapter is not None:
            held, scale = (ctypes.c_void_p * 1)(self._adapter), (ctypes.c_float * 1)(1.0)
            pointers = (ctypes.addressof(held), 1, ctypes.addressof(scale))
            if lib.llama_set_adapters_lora(self._context, *pointers):
                raise UserError(f"llama.cpp does not take the adapter: {lib.last_log()}")

    def _check_made(self, cells: int) -> None:
        """Raise UserError if the new context did not take the parameters it was given."""
        lib = self._library
        made = (
            lib.llama_n_ctx(self._context) >= cells,
            lib.llama_n_batch(self._context) == _SEQUENCES,
            lib.llama_n_ubatch(self._context) == _UBATCH,
            lib.llama_n_seq_max(self._context) == _SEQUENCES,
            lib.llama_n_threads(self._context) == self._threads,
        )
        if not all(made):
            self.close()
            raise UserError(
                f"{lib.files.name} did not take the parameters of the context: its struct is laid "
                "out in another way. Use the packaged library (unset GALENIC_LIBLLAMA)."
            )

    def _check_memory(self, size: int) -> None:
        lib = self._library
        heads = lib.llama_model_n_head(self._model) or 1
        width = lib.llama_model_n_embd(self._model) * lib.llama_model_n_head_kv(self._model) / heads
        need = 2 * size * lib.llama_model_n_layer(self._model) * width * _KV_BYTES
        free = psutil.virtual_memory().available
        if need > free:
            raise UserError(
                f"a context of {size} tokens needs {need / 2**30:.1f} GiB of memory and "
                f"{free / 2**30:.1f} GiB are free. Close other programs, or use a smaller model."
            )


def _context_size(cells: int) -> int:
    """Round a number of tokens up, so that few packs need a new context."""
    if cells <= 8 * _SMALLEST_CONTEXT:
        return max(_SMALLEST_CONTEXT, 1 << (cells - 1).bit_length())
    return -(-cells // (4 * _SMALLEST_CONTEXT)) * 4 * _SMALLEST_CONTEXT
