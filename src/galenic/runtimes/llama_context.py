"""The context of a model in llama.cpp: rows computed in tiles, what is kept of them, logits."""

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

_SEQUENCES = 256  # as many as llama.cpp tells apart
_PREFIX = 0  # the sequence that keeps the prefix
_TWIN = _SEQUENCES - 1  # and the one of the rows that fill up a tile
MAX_LEAVES = _SEQUENCES - 2
_UBATCH = 64
_SMALLEST_CONTEXT = 1024
_KV_BYTES = 2  # flash attention computes with float16 keys and values, so they are kept as such
_GGML_TYPE_F16 = 1
_FLASH_ATTENTION_ON = 1  # without it no kernel skips the cells of other texts


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """Nobody waits for the text any more."""


class LlamaContext:
    """Memory for the texts of a model; it is made, and made anew, when one needs more of it.

    Args:
        library: the loaded library.
        model: its handle of the model.
        threads: threads to compute with.
        adapter: its handle of an adapter beside the weights; None without.
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
        """Make sure that a text of so many tokens fits.

        Raises:
            UserError: there is too little memory, or the library makes no such context.
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
        """Compute a text, but for what it shares with the one before; see `LlamaEngine.start`."""
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
        """Add one token to the text that was begun; logits after it, shape (vocab,)."""
        one = np.array([token], dtype=np.int32)
        at = np.array([position], dtype=np.int32)
        self._decode(Rows(one, at, [(_PREFIX,)], np.ones(1, dtype=np.int8)))
        return self.logits(0)

    def follow(self, tokens: Sequence[int], first: int) -> Iterator[NDArray[np.float32]]:
        """Logits after each token from place ``first`` on, shape (vocab,), valid until the next.

        What the text shares with the one before is not computed again, but for those places.
        """
        ids, positions = np.array(tokens, dtype=np.int32), np.arange(len(tokens), dtype=np.int32)
        for start, end in parts(self._keep_begun(tokens, first), len(ids)):
            part, size = slice(start, end), end - start
            wanted = (positions[part] >= first).astype(np.int8)
            self.run(Rows(ids[part], positions[part], [(_PREFIX,)] * size, wanted))
            self._begun = tuple(tokens[:end])
            for row in np.flatnonzero(wanted):
                yield self.logits(int(row))

    def keep_prefix(self, prefix: tuple[int, ...]) -> None:
        """Compute what trees begin with, unless it is there."""
        if prefix == self._prefix:
            return
        self.forget()
        for first, last in parts(0, len(prefix)):
            self._run_part(prefix, first, last, read_last=False)
        self._prefix = prefix

    @contextmanager
    def branches(self, number: int) -> Iterator[Sequence[int]]:
        """Sequences for so many texts that begin with the kept prefix, forgotten at the end."""
        lib, sequences = self._library, range(_PREFIX + 1, _PREFIX + 1 + number)
        try:
            for sequence in sequences if self._prefix else ():
                lib.llama_memory_seq_cp(self._memory, _PREFIX, sequence, -1, -1)
            yield sequences
        finally:
            for sequence in sequences:
                lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def run(self, rows: Rows) -> None:
        """Compute rows in whole tiles, those of the last layer, which are the wanted ones, too.

        Args:
            rows: at most as many as `galenic.runtimes.tiles.parts` puts together.
        """
        filled = fill(rows, twin=_TWIN)
        self._decode(filled)
        if len(filled) > len(rows):
            self._library.llama_memory_seq_rm(self._memory, _TWIN, -1, -1)

    def logits(self, row: int) -> NDArray[np.float32]:
        """View of the logits of a row of the last batch, shape (vocab,)."""
        address = self._library.llama_get_logits_ith(self._context, row)
        if not address:
            raise RuntimeError(f"no logits for row {row}: {self._library.last_log()}")
        return np.ctypeslib.as_array((ctypes.c_float * self._vocab_size).from_address(address))

    def forget(self) -> None:
        """Compute what comes next from its first token on."""
        self._prefix, self._begun = None, ()
        if self._memory is not None:
            self._library.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free the memory. Safe to call twice; what comes next takes it anew."""
        if self._context is not None:
            self._library.llama_free(self._context)
        self._context = self._memory = self._prefix = None
        self._begun = ()

    def _keep_begun(self, tokens: Sequence[int], most: int | None = None) -> int:
        """Forget all but the beginning that the text shares with the one before; its length.

        At most ``most`` tokens of it, all but the last without: for the logits of what follows.
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
        """Compute rows [first, last) of a text that stands alone."""
        ids = np.array(tokens[first:last], dtype=np.int32)
        wanted = np.zeros(len(ids), dtype=np.int8)
        wanted[-1:] = read_last
        positions = np.arange(first, last, dtype=np.int32)
        self.run(Rows(ids, positions, [(_PREFIX,)] * len(ids), wanted))

    def _decode(self, rows: Rows) -> None:
        """Compute rows as they are given; logits of the wanted ones."""
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
        params.n_seq_max = _SEQUENCES  # and no more than n_batch, or llama.cpp aborts
        params.n_outputs_max_per_seq = 0  # no limit: every row of a path may be read
        params.n_threads = params.n_threads_batch = self._threads
        params.type_k = params.type_v = _GGML_TYPE_F16
        params.flash_attn_type = _FLASH_ATTENTION_ON
        params.kv_unified = True  # a row may belong to many sequences
        params.embeddings = params.offload_kqv = params.op_offload = False
        lib.log.clear()
        self._context = lib.llama_init_from_model(self._model, params)
        if not self._context:
            raise UserError(f"llama.cpp makes no context of {size} tokens: {lib.last_log()}")
        if self._adapter is not None:
            held, scale = (ctypes.c_void_p * 1)(self._adapter), (ctypes.c_float * 1)(1.0)
            pointers = (ctypes.addressof(held), 1, ctypes.addressof(scale))
            if lib.llama_set_adapters_lora(self._context, *pointers):
                raise UserError(f"llama.cpp does not take the adapter: {lib.last_log()}")

    def _check_made(self, cells: int) -> None:
        """Read back what the context was made of."""
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
    """Room for the given tokens and some more, so that few packs need a new context."""
    if cells <= 8 * _SMALLEST_CONTEXT:
        return max(_SMALLEST_CONTEXT, 1 << (cells - 1).bit_length())
    return -(-cells // (4 * _SMALLEST_CONTEXT)) * 4 * _SMALLEST_CONTEXT
