"""Cache on disk for the outputs of frozen lower blocks, so that each text is computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.jsonl import append_jsonl
from galenic.models.layers import Layout
from galenic.runtimes.tree import Pack, Request, build_pack
from galenic.runtimes.tree_attention import TreePlan, active_plan
from galenic.training.learner import standing_aside

__all__ = ["FrozenBlocks"]

STATES, INDEX = "states.bin", "index.jsonl"
FLOAT_BYTES = 4


class FrozenBlocks:
    """The frozen first blocks of a model, with a cache of bounded size for their outputs.

    Cached texts are looked up by their tokens. A token attends only to earlier tokens of its own
    text, so its hidden state does not depend on the other texts in the pack. The index is written
    after the states it points to, so the cache stays usable if the process is killed.

    Args:
        layout: the model, before or after adapters are added.
        count: number of frozen blocks, at least 1; all blocks if the model is not trained.
        folder: cache folder; must be used by one process at a time.
        limit: maximum size of the cached hidden states in bytes; texts beyond it are recomputed.
        key: what the states depend on besides ``count``: the hash of the weights. A cache with a
            different key is deleted.

    Attributes:
        blocks: modules of the frozen blocks.
        computed: number of rows computed so far, for information.
    """

    def __init__(self, layout: Layout, count: int, folder: Path, *, limit: int, key: str) -> None:
        if not 1 <= count <= len(layout.blocks):
            raise ValueError(f"count {count} must be in [1, {len(layout.blocks)}]")
        self.decoder = layout.decoder
        self.blocks: Sequence[Any] = [block.module for block in layout.blocks[:count]]
        self.above: Sequence[Any] = [block.module for block in layout.blocks[count:]]
        self.width, self.limit = layout.sizes.hidden_size, limit
        self.states, self.index = folder / STATES, folder / INDEX
        self.places: dict[str, tuple[int, int]] = {}
        self.computed = self.size = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._open(f"{key}/{count}/{self.width}")

    def __call__(self, pack: Pack) -> Any:
        """Return the hidden states after the frozen blocks, shape (1, rows, hidden)."""
        out = np.empty((len(pack.tokens), self.width), dtype=np.float32)
        missing: list[tuple[list[int], tuple[int, ...]]] = []
        for rows in _paths(pack):
            text = tuple(int(token) for token in pack.tokens[rows])
            place = self.places.get(_name(text))
            if place is None:
                missing.append((rows, text))
            else:
                out[rows] = self._read(*place)
        if missing:
            self._fill(out, missing)
        return torch.from_numpy(out)[None]

    def _fill(
        self, out: NDArray[np.float32], missing: Sequence[tuple[list[int], tuple[int, ...]]]
    ) -> None:
        # append a token, because the last one of a request is never computed
        pack = build_pack([Request((*text, 0), len(text)) for _, text in missing])
        found = self._compute(pack)
        for (rows, text), end in zip(missing, pack.read_rows.tolist(), strict=True):
            states = found[_rows_to(pack, end)]
            out[rows] = states
            self._keep(text, states)

    def _compute(self, pack: Pack) -> NDArray[np.float32]:
        device = next(self.decoder.parameters()).device
        seen: list[Any] = []
        hook = self.blocks[-1].register_forward_hook(lambda _, __, result: seen.append(result))
        for block in self.blocks:
            block.eval()
        try:
            with torch.no_grad(), active_plan(TreePlan(pack)), standing_aside(self.above):
                self.decoder(
                    input_ids=torch.from_numpy(pack.tokens.astype(np.int64))[None].to(device),
                    position_ids=torch.from_numpy(pack.positions.astype(np.int64))[None].to(device),
                    use_cache=False,
                )
        finally:
            hook.remove()
        self.computed += len(pack.tokens)
        states: NDArray[np.float32] = seen[0][0].float().cpu().numpy()
        return states

    def _keep(self, text: tuple[int, ...], states: NDArray[np.float32]) -> None:
        start = self.size
        if _name(text) in self.places or start + states.nbytes > self.limit:
            return
        with self.states.open("r+b") as handle:
            handle.seek(start)
            handle.write(states.tobytes())
        self.size = start + states.nbytes
        self.places[_name(text)] = (start, len(states))
        append_jsonl(self.index, [[_name(text), start, len(states)]])

    def _read(self, start: int, rows: int) -> NDArray[np.float32]:
        shape = (rows, self.width)
        return np.memmap(self.states, dtype=np.float32, mode="r", offset=start, shape=shape)

    def _open(self, key: str) -> None:
        lines = self.index.read_text(encoding="utf-8").splitlines() if self.index.exists() else []
        self.size = 0
        if not self.states.exists() or not lines or lines[0] != json.dumps(key):
            self.states.write_bytes(b"")
            self.index.write_text(json.dumps(key) + "\n", encoding="utf-8")
            return
        whole = self.states.stat().st_size
        for line in lines[1:]:
            try:
                name, start, rows = json.loads(line)
            except ValueError:
                break  # incomplete line: the process was killed while writing it
            end = start + rows * self.width * FLOAT_BYTES
            if end > whole:
                break
            self.places[name], self.size = (start, rows), end
        rows_of = [json.dumps([name, *place]) for name, place in self.places.items()]
        text = "\n".join([json.dumps(key), *rows_of]) + "\n"
        self.index.write_text(text, encoding="utf-8")


def _name(text: tuple[int, ...]) -> str:
    return hashlib.sha256(np.array(text, dtype="<i8").tobytes()).hexdigest()


def _paths(pack: Pack) -> list[list[int]]:
    """For each leaf of the pack's tree, the rows on the path from the root to it."""
    inner = set(pack.parents.tolist())
    return [_rows_to(pack, row) for row in range(len(pack.tokens)) if row not in inner]


def _rows_to(pack: Pack, row: int) -> list[int]:
    rows = []
    while row >= 0:
        rows.append(row)
        row = int(pack.parents[row])
    return rows[::-1]
