"""One model loaded by a llama.cpp library: scoring of token trees, and generation steps.

It takes any library without verifying it, so that the self-test can run one that is not yet
trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.runtimes.libllama import LibLlama
from galenic.runtimes.llama_context import MAX_LEAVES, LlamaContext
from galenic.runtimes.llama_load import load_adapter
from galenic.runtimes.llama_vocab import LlamaVocab
from galenic.runtimes.tiles import FEWEST, ROWS, Rows, parts
from galenic.runtimes.tree import Pack
from galenic.runtimes.writing import log_softmax

__all__ = ["LlamaEngine"]

_PACKED_REFUSED = "this kind of model (recurrent or encoder-decoder) cannot be scored here"


class LlamaEngine(LlamaVocab):
    """A model and its context.

    Args:
        library: the loaded library.
        path: the GGUF file.
        threads: number of compute threads.
        adapter: LoRA in GGUF format that is applied at run time; None for none.

    Raises:
        UserError: the library cannot load a file, or the model is not a decoder-only transformer.
    """

    def __init__(
        self, library: LibLlama, path: Path, *, threads: int, adapter: Path | None = None
    ) -> None:
        self.threads = threads
        super().__init__(library, path)
        model = self._model
        held = None if adapter is None else load_adapter(library, model, adapter)
        self._context = LlamaContext(library, model, threads=threads, adapter=held)
        self.context_length = int(library.llama_model_n_ctx_train(model))
        if (
            library.llama_model_is_recurrent(model)
            or library.llama_model_is_hybrid(model)
            or library.llama_model_has_encoder(model)
        ):
            self.close()
            raise UserError(f"{path}: {_PACKED_REFUSED}. Use a decoder-only transformer.")

    # Computing

    def score(self, pack: Pack) -> NDArray[np.float64]:
        """Log-probability in nats of each read of the pack, shape (p,).

        The prefix is computed once and kept. A value does not depend on the rest of the pack, on
        earlier calls, or on how much of its path belongs to the prefix.

        Raises:
            ValueError: a tree has more than `MAX_LEAVES` paths, or a path exceeds the model's
                context.
        """
        self._check_length(int(pack.positions.max(initial=len(pack.prefix) - 1)) + 1)
        largest = max((end - start for start, end in pack.trees), default=0)
        self._context.reserve(len(pack.prefix) + largest)
        self._context.keep_prefix(pack.prefix)
        values = np.empty(len(pack.read_rows), dtype=np.float64)
        for start, end in pack.trees:
            self._score_tree(pack, start, end, values)
        return values

    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probabilities of all next tokens along one text, shape (len(tokens), vocab).

        Computed in the same batches as `score`, so that values are identical.

        Raises:
            ValueError: ``tokens`` is empty or longer than the model's context.
        """
        if not tokens:
            raise ValueError("log_probs needs at least one token")
        self._check_length(len(tokens))
        self._context.reserve(len(tokens))
        found = np.empty((len(tokens), self.vocab_size), dtype=np.float32)
        for row, logits in enumerate(self._context.follow(tokens, 0)):
            found[row] = log_softmax(logits)
        return found

    def follow(self, tokens: Sequence[int], first: int) -> Iterator[NDArray[np.float64]]:
        """Yield log-probabilities of all next tokens after each position from ``first`` on.

        Tokens before ``first`` that the text shares with the previous one are not computed again.
        Values are identical to those of `score` and `log_probs`.

        Raises:
            ValueError: ``tokens`` is empty or too long, or ``first`` is out of range.
        """
        if not 0 <= first < len(tokens):
            raise ValueError(f"place {first} in a text of {len(tokens)} tokens")
        self._check_length(len(tokens))
        self._context.reserve(len(tokens))
        yield from map(log_softmax, self._context.follow(tokens, first))

    def after(self, tokens: Sequence[int], ends: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        """Yield log-probabilities of all next tokens after a text and each of the ends.

        Values are identical to those of `log_probs`.

        Raises:
            ValueError: ``tokens`` is empty or too long.
        """
        if not tokens:
            raise ValueError("after needs at least one token")
        self._check_length(len(tokens) + 1)
        self._context.reserve(len(tokens) + FEWEST + len(ends))
        for first in range(0, len(ends), ROWS):
            yield from map(log_softmax, self._context.after(tokens, ends[first : first + ROWS]))

    def start(
        self,
        tokens: Sequence[int],
        *,
        room: int,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> NDArray[np.float32]:
        """Start a text; returns logits after its last token, shape (vocab,), until the next call.

        Tokens shared with the previous `start` are reused, with bit-identical results. Tokens that
        `step` appended are computed again, because kernels for single rows sum in another order.

        Args:
            tokens: the text; at least one token.
            room: maximum number of tokens that `step` may append.
            should_continue: called before each batch; `Interrupted` is raised if it returns False.
        """
        self._check_length(len(tokens))
        self._context.reserve(len(tokens) + room)
        return self._context.begin(tokens, should_continue)

    def step(self, token: int, position: int) -> NDArray[np.float32]:
        """Append one token to the text of `start`; returns the logits after it, shape (vocab,)."""
        return self._context.step(token, position)

    def forget(self) -> None:
        """Clear the cache, so that the next text is computed from its first token."""
        self._context.forget()

    def close(self) -> None:
        """Free context and model. May be called more than once."""
        self._context.close()
        super().close()

    def _score_tree(self, pack: Pack, start: int, end: int, values: NDArray[np.float64]) -> None:
        """Compute the tree of rows [start, end) and store its reads in ``values``."""
        leaves = pack.leaves[start]  # all paths of a tree run through its root
        if len(leaves) > MAX_LEAVES:
            raise ValueError(f"{len(leaves)} paths in a tree; at most {MAX_LEAVES}")
        with self._context.branches(len(leaves)) as branches:
            for first, last in parts(start, end):
                rows = slice(first, last)
                through = [
                    [branches[leaf - leaves[0]] for leaf in path] for path in pack.leaves[rows]
                ]
                reads = np.flatnonzero((pack.read_rows >= first) & (pack.read_rows < last))
                wanted = np.zeros(last - first, dtype=np.int8)
                wanted[pack.read_rows[reads] - first] = 1
                self._context.run(Rows(pack.tokens[rows], pack.positions[rows], through, wanted))
                self._read(pack, first, reads, values)

    def _read(
        self, pack: Pack, first: int, reads: NDArray[np.intp], values: NDArray[np.float64]
    ) -> None:
        """Store the given reads from the current batch, whose first row is ``first``."""
        for row in np.unique(pack.read_rows[reads]):
            here = reads[pack.read_rows[reads] == row]
            logits = self._context.logits(int(row) - first)
            values[here] = log_softmax(logits)[pack.read_tokens[here]]

    def _check_length(self, length: int) -> None:
        if length > self.context_length:
            raise ValueError(f"{length} tokens; the model takes at most {self.context_length}")
