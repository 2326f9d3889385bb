"""One model loaded by a llama.cpp library: tokenizer, token trees, token by token.

This is the part without policy: it takes a library as it is given, which lets the self-test drive
one that is not trusted yet.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.runtimes.libllama import Batch, LibLlama
from galenic.runtimes.llama_load import load_model
from galenic.runtimes.tiles import FEWEST, fill, parts
from galenic.runtimes.tree import Pack, common_prefix_length

__all__ = ["MAX_LEAVES", "Interrupted", "LlamaEngine"]

_SEQUENCES = 256  # as many as llama.cpp tells apart
_PREFIX = 0  # the sequence that keeps the prefix
_TWIN = _SEQUENCES - 1  # and the one of the rows that fill up a tile
MAX_LEAVES = _SEQUENCES - 2
_UBATCH = 64
_SMALLEST_CONTEXT = 1024
_KV_BYTES = 2  # flash attention computes with float16 keys and values, so they are kept as such
_GGML_TYPE_F16 = 1
_FLASH_ATTENTION_ON = 1  # without it no kernel skips the cells of other texts
_PACKED_REFUSED = "this kind of model (recurrent or encoder-decoder) cannot be scored here"


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """Nobody waits for the text any more."""


class LlamaEngine:
    """A model and, once something is computed, its context.

    Args:
        library: the loaded library.
        path: the GGUF file.
        threads: threads to compute with.

    Raises:
        UserError: the library refuses the file.
    """

    def __init__(self, library: LibLlama, path: Path, *, threads: int) -> None:
        self.library = library
        self.threads = threads
        self._model = load_model(library, path)
        self._vocab = library.llama_model_get_vocab(self._model)
        self._context: int | None = None
        self._memory: int | None = None
        self._prefix: tuple[int, ...] | None = None
        self._begun: tuple[int, ...] = ()
        self.vocab_size = int(library.llama_vocab_n_tokens(self._vocab))
        self.context_length = int(library.llama_model_n_ctx_train(self._model))
        if (
            library.llama_model_is_recurrent(self._model)
            or library.llama_model_is_hybrid(self._model)
            or library.llama_model_has_encoder(self._model)
        ):
            self.close()
            raise UserError(f"{path}: {_PACKED_REFUSED}. Use a decoder-only transformer.")

    # What the model is

    @property
    def num_parameters(self) -> int:
        """All parameters, embeddings included."""
        return int(self.library.llama_model_n_params(self._model))

    @property
    def weights(self) -> str:
        """Quantization of most weights, for example ``"Q4_1"`` or ``"all F32"``."""
        text = ctypes.create_string_buffer(256)
        self.library.llama_model_desc(self._model, text, len(text))
        return text.value.decode().split(" ", 2)[-1]  # "<architecture> <size> <weights>"

    @property
    def chat_template(self) -> str | None:
        """The Jinja text in the file."""
        template = self.library.llama_model_chat_template(self._model, None)
        return None if template is None else str(template.decode())

    def metadata(self, key: str) -> str | None:
        """A single value of the file's header as text, or None."""
        text = ctypes.create_string_buffer(1024)
        size = self.library.llama_model_meta_val_str(self._model, key.encode(), text, len(text))
        return None if size < 0 else text.value.decode(errors="replace")

    def special_tokens(self) -> dict[str, str]:
        """``bos_token`` and ``eos_token``, those that exist."""
        lib, found = self.library, {}
        for name, token in (
            ("bos_token", lib.llama_vocab_bos(self._vocab)),
            ("eos_token", lib.llama_vocab_eos(self._vocab)),
        ):
            if token >= 0:
                found[name] = str(lib.llama_vocab_get_text(self._vocab, token).decode())
        return found

    def ends(self, token: int) -> bool:
        """Whether a token ends a generated text."""
        return bool(self.library.llama_vocab_is_eog(self._vocab, token))

    def pieces(self) -> list[str]:
        """The spelling of every token id in the file's vocabulary."""
        texts = (self.library.llama_vocab_get_text(self._vocab, i) for i in range(self.vocab_size))
        return [text.decode(errors="replace") for text in texts]

    # Text and tokens

    def encode(self, text: str) -> list[int]:
        """Token ids, with the model's start token and without its end token."""
        data = text.encode()
        room = len(data) + 8  # a token stands for a byte at least, besides start and end
        tokens = (ctypes.c_int32 * room)()
        count = self.library.llama_tokenize(self._vocab, data, len(data), tokens, room, True, True)
        if count < 0:
            raise RuntimeError(f"llama_tokenize failed ({count}): {self.library.last_log()}")
        ids = tokens[:count]
        if ids and self.library.llama_vocab_get_add_eos(self._vocab):
            ids.pop()
        return ids

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """UTF-8 text of token ids without special tokens; may begin or end within a character."""
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        room = 16 * len(tokens) + 16
        while True:
            text = ctypes.create_string_buffer(room)
            size = self.library.llama_detokenize(
                self._vocab, ids, len(tokens), text, room, False, False
            )
            if size >= 0:
                return text.raw[:size]
            room = -size

    # Computing

    def score(self, pack: Pack) -> NDArray[np.float64]:
        """Log-probability in nats of each read of the pack, shape (p,).

        The prefix is computed once and kept. A value does not depend on what else is in the pack,
        on what was scored before, or on how much of its path is prefix.

        Raises:
            ValueError: a tree has more than `MAX_LEAVES` paths, or a path is longer than the
                model's context.
        """
        self._check_length(int(pack.positions.max(initial=len(pack.prefix) - 1)) + 1)
        largest = max((end - start for start, end in pack.trees), default=0)
        self._reserve(len(pack.prefix) + largest + FEWEST)
        self._keep_prefix(pack.prefix)
        values = np.empty(len(pack.read_rows), dtype=np.float64)
        for start, end in pack.trees:
            self._score_tree(pack, start, end, values)
        return values

    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probabilities of all next tokens along one text, shape (len(tokens), vocab).

        In the batches of `score`, so that the values are those of `score`.

        Raises:
            ValueError: no token, or more than the model's context.
        """
        if not tokens:
            raise ValueError("log_probs needs at least one token")
        self._check_length(len(tokens))
        self._reserve(len(tokens) + FEWEST)
        self.forget()
        found = np.empty((len(tokens), self.vocab_size), dtype=np.float32)
        ids, positions = np.array(tokens, dtype=np.int32), np.arange(len(tokens), dtype=np.int32)
        for first, last in parts(0, len(ids)):
            part, size = slice(first, last), last - first
            wanted = np.ones(size, dtype=np.int8)
            self._decode_some(ids[part], positions[part], [(_PREFIX,)] * size, wanted)
            for row in range(size):
                found[first + row] = _log_softmax(self._logits(row))
        return found

    def start(
        self,
        tokens: Sequence[int],
        *,
        room: int,
        going_on: Callable[[], bool] = lambda: True,
    ) -> NDArray[np.float32]:
        """Begin a text; logits after its last token, shape (vocab,), valid until the next call.

        The beginning that it shares with the text before is not computed again; the values are
        those that they would be, bit for bit. What `step` added there is, for the kernels for one
        row sum in another order.

        Args:
            tokens: at least one.
            room: how many tokens `step` may add at most.
            going_on: asked before each batch; where it says no, `Interrupted` is raised.
        """
        self._check_length(len(tokens))
        self._reserve(len(tokens) + room + FEWEST)
        shared = self._keep_begun(tokens)
        first, last = 0, 0
        for first, last in parts(shared, len(tokens)):
            if not going_on():
                self.forget()
                raise Interrupted
            self._run_part(tokens, first, last, read_last=last == len(tokens))
        self._begun = tuple(tokens)
        return self._logits(last - first - 1)

    def _keep_begun(self, tokens: Sequence[int]) -> int:
        """Forget all but the beginning that the text shares with the one before; its length."""
        shared = common_prefix_length([self._begun, tuple(tokens)])
        shared = min(shared, len(tokens) - 1)  # the last is computed anew, for its logits
        if not shared:
            self.forget()
            return 0
        self._prefix, self._begun = None, ()
        self.library.llama_memory_seq_rm(self._memory, _PREFIX, shared, -1)
        return shared

    def step(self, token: int, position: int) -> NDArray[np.float32]:
        """Add one token to the text that `start` began; logits after it, shape (vocab,)."""
        one = np.array([token], dtype=np.int32)
        at = np.array([position], dtype=np.int32)
        self._decode(one, at, [(_PREFIX,)], np.ones(1, dtype=np.int8))
        return self._logits(0)

    def forget(self) -> None:
        """Compute what comes next from its first token on."""
        self._prefix, self._begun = None, ()
        if self._memory is not None:
            self.library.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free context and model. Safe to call twice."""
        self._free_context()
        if self._model is not None:
            self.library.llama_model_free(self._model)
            self._model = None

    def _score_tree(self, pack: Pack, start: int, end: int, values: NDArray[np.float64]) -> None:
        """Compute the tree of rows [start, end) and write its reads to values."""
        leaves = pack.leaves[start]  # all paths of a tree run through its root
        if len(leaves) > MAX_LEAVES:
            raise ValueError(f"{len(leaves)} paths in a tree; at most {MAX_LEAVES}")
        sequences = range(1, 1 + len(leaves))
        through = [[1 + leaf - leaves[0] for leaf in paths] for paths in pack.leaves[start:end]]
        lib = self.library
        try:
            for sequence in sequences if pack.prefix else ():
                lib.llama_memory_seq_cp(self._memory, _PREFIX, sequence, -1, -1)
            for first, last in parts(start, end):
                rows, paths = slice(first, last), through[first - start : last - start]
                reads = np.flatnonzero((pack.read_rows >= first) & (pack.read_rows < last))
                wanted = np.zeros(last - first, dtype=np.int8)
                wanted[pack.read_rows[reads] - first] = 1
                self._decode_some(pack.tokens[rows], pack.positions[rows], paths, wanted)
                self._read(pack, first, reads, values)
        finally:
            for sequence in sequences:
                lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def _read(
        self, pack: Pack, first: int, reads: NDArray[np.intp], values: NDArray[np.float64]
    ) -> None:
        """Take the given reads from the batch whose first row is ``first``."""
        for row in np.unique(pack.read_rows[reads]):
            here = reads[pack.read_rows[reads] == row]
            values[here] = _log_softmax(self._logits(int(row) - first))[pack.read_tokens[here]]

    def _check_length(self, length: int) -> None:
        if length > self.context_length:
            raise ValueError(f"{length} tokens; the model takes at most {self.context_length}")

    def _keep_prefix(self, prefix: tuple[int, ...]) -> None:
        if prefix == self._prefix:
            return
        self.forget()
        self._run_alone(prefix, read_last=False)
        self._prefix = prefix

    def _run_alone(self, tokens: Sequence[int], *, read_last: bool) -> None:
        for first, last in parts(0, len(tokens)):
            self._run_part(tokens, first, last, read_last=read_last and last == len(tokens))

    def _run_part(self, tokens: Sequence[int], first: int, last: int, *, read_last: bool) -> None:
        """Compute rows [first, last) of a text that stands alone."""
        ids = np.array(tokens[first:last], dtype=np.int32)
        wanted = np.zeros(len(ids), dtype=np.int8)
        wanted[-1:] = read_last
        positions = np.arange(first, last, dtype=np.int32)
        self._decode_some(ids, positions, [(_PREFIX,)] * len(ids), wanted)

    def _decode_some(
        self,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int32],
        sequences: Sequence[Sequence[int]],
        wanted: NDArray[np.int8],
    ) -> None:
        """Compute rows in whole tiles, those of the last layer, which are the wanted ones, too."""
        filled = fill(tokens, positions, sequences, wanted, twin=_TWIN)
        self._decode(*filled)
        if len(filled[0]) > len(tokens):
            self.library.llama_memory_seq_rm(self._memory, _TWIN, -1, -1)

    def _decode(
        self,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int32],
        sequences: Sequence[Sequence[int]],
        wanted: NDArray[np.int8],
    ) -> None:
        """Compute rows, each belonging to the given sequences; logits of the wanted ones."""
        tokens, positions = np.ascontiguousarray(tokens), np.ascontiguousarray(positions)
        wanted = np.ascontiguousarray(wanted)
        counts = np.array([len(row) for row in sequences], dtype=np.int32)
        flat = np.array([number for row in sequences for number in row], dtype=np.int32)
        starts = np.concatenate([[0], np.cumsum(counts[:-1])])
        pointers = (flat.ctypes.data + flat.itemsize * starts).astype(np.uintp)
        batch = Batch(
            n_tokens=len(tokens),
            token=tokens.ctypes.data,
            pos=positions.ctypes.data,
            n_seq_id=counts.ctypes.data,
            seq_id=pointers.ctypes.data,
            logits=wanted.ctypes.data,
        )
        self.library.log.clear()
        status = self.library.llama_decode(self._context, batch)
        if status != 0:
            self._prefix, self._begun = None, ()
            raise RuntimeError(f"llama_decode failed ({status}): {self.library.last_log()}")

    def _logits(self, row: int) -> NDArray[np.float32]:
        """View of the logits of a row of the last batch, shape (vocab,)."""
        address = self.library.llama_get_logits_ith(self._context, row)
        if not address:
            raise RuntimeError(f"no logits for row {row}: {self.library.last_log()}")
        return np.ctypeslib.as_array((ctypes.c_float * self.vocab_size).from_address(address))

    def _reserve(self, cells: int) -> None:
        """Make sure that the context holds so many tokens, and read its size back."""
        lib = self.library
        if self._context is not None and cells <= lib.llama_n_ctx(self._context):
            return
        self._free_context()
        size = _context_size(cells)
        self._check_memory(size)
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = size, _SEQUENCES, _UBATCH
        params.n_seq_max = _SEQUENCES  # and no more than n_batch, or llama.cpp aborts
        params.n_outputs_max_per_seq = 0  # no limit: every row of a path may be read
        params.n_threads = params.n_threads_batch = self.threads
        params.type_k = params.type_v = _GGML_TYPE_F16
        params.flash_attn_type = _FLASH_ATTENTION_ON
        params.kv_unified = True  # a row may belong to many sequences
        params.embeddings = params.offload_kqv = params.op_offload = False
        lib.log.clear()
        self._context = lib.llama_init_from_model(self._model, params)
        if not self._context:
            raise UserError(f"llama.cpp makes no context of {size} tokens: {lib.last_log()}")
        made = (
            lib.llama_n_ctx(self._context) >= cells,
            lib.llama_n_batch(self._context) == _SEQUENCES,
            lib.llama_n_ubatch(self._context) == _UBATCH,
            lib.llama_n_seq_max(self._context) == _SEQUENCES,
            lib.llama_n_threads(self._context) == self.threads,
        )
        if not all(made):
            self._free_context()
            raise UserError(
                f"{lib.files.name} did not take the parameters of the context: its struct is laid "
                "out in another way. Use the packaged library (unset GALENIC_LIBLLAMA)."
            )
        self._memory = lib.llama_get_memory(self._context)

    def _check_memory(self, size: int) -> None:
        lib = self.library
        heads = lib.llama_model_n_head(self._model) or 1
        width = lib.llama_model_n_embd(self._model) * lib.llama_model_n_head_kv(self._model) / heads
        need = 2 * size * lib.llama_model_n_layer(self._model) * width * _KV_BYTES
        free = psutil.virtual_memory().available
        if need > free:
            raise UserError(
                f"a context of {size} tokens needs {need / 2**30:.1f} GiB of memory and "
                f"{free / 2**30:.1f} GiB are free. Close other programs, or use a smaller model."
            )

    def _free_context(self) -> None:
        if self._context is not None:
            self.library.llama_free(self._context)
        self._context = self._memory = self._prefix = None
        self._begun = ()


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max()
    shifted -= np.log(np.exp(shifted).sum())
    return shifted


def _context_size(cells: int) -> int:
    """Room for the given tokens and some more, so that few packs need a new context."""
    if cells <= 8 * _SMALLEST_CONTEXT:
        return max(_SMALLEST_CONTEXT, 1 << (cells - 1).bit_length())
    return -(-cells // (4 * _SMALLEST_CONTEXT)) * 4 * _SMALLEST_CONTEXT
