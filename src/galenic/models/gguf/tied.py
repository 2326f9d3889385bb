"""Store the embedding and the head of a GGUF once where both hold the same weights.

llama.cpp's converter may write a tied matrix twice, in two types: Qwen2.5's published Q4_K_M files
hold it as a Q4_K embedding and as a Q6_K head, which takes 12 % of the 1.5B's bytes. A GGUF without
``output.weight`` uses its embedding as the head:
https://github.com/ggml-org/llama.cpp/blob/master/src/llama-model.cpp
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from galenic.cache import cache_folder, file_sha256, made_once
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.copy import gguf_source, join_parts
from galenic.models.gguf.header import check_gguf
from galenic.models.gguf.names import EMBEDDING, HEAD
from galenic.watcher import Watcher

__all__ = ["head_once", "held_twice", "tied_head"]

MOST_APART = 0.3
"""Largest relative difference of one matrix in two types: the root of the sum of squares of the
difference over that of the head. Q4_K beside Q6_K gives 0.07, Q2_K about 0.25; matrices that were
learnt apart differ by 1 and more."""
ROWS = 2048


def head_once(files: ModelFiles, wanted: bool, watcher: Watcher) -> ModelFiles:
    """Return the copy with one head where it is wanted; else the model, with a hint if it has two.

    Args:
        files: the model.
        wanted: whether ``--tie-head`` was given.
        watcher: shows the hint.

    Raises:
        UserError: see `tied_head`.
    """
    if wanted:
        return tied_head(files)
    if held_twice(files):
        watcher.say("it holds one matrix twice, as embedding and head: --tie-head keeps one")
    return files


def tied_head(files: ModelFiles) -> ModelFiles:
    """Return a copy of a GGUF that holds embedding and head once; made once, then cached.

    Of the two the one in more bytes is kept.

    Args:
        files: the model.

    Raises:
        UserError: it is no GGUF with a head of its own, or the head holds other weights.
    """
    if files.kind != "gguf":
        raise UserError(
            f"--tie-head takes a GGUF that holds its head twice; {files.name} is a folder. "
            "Leave it out."
        )
    header = check_gguf(files.path)
    found = {tensor.name: tensor for tensor in header.tensors if tensor.name in (EMBEDDING, HEAD)}
    if HEAD not in found:
        raise UserError(f"{files.name} holds embedding and head once already: omit --tie-head.")
    names: dict[str, str | None] = {HEAD: None}
    if found[HEAD].num_bytes > found[EMBEDDING].num_bytes:
        names = {EMBEDDING: None, HEAD: EMBEDDING}
    folder = cache_folder("tied") / f"{files.path.stem}-{files.sha256[:16]}"
    name = f"{files.path.stem}.gguf"

    def make(part: Path) -> None:
        if (apart := _apart(files.path)) > MOST_APART:
            raise UserError(
                f"the head of {files.name} holds other weights than its embedding (they differ by "
                f"{apart:.2f} of the head's size; at most {MOST_APART} for --tie-head)."
            )
        part.mkdir()
        join_parts(files.path, part / name, names)

    path = made_once(folder, make) / name
    return replace(files, path=path, sha256=file_sha256(path))


def held_twice(files: ModelFiles) -> bool:
    """Whether a GGUF seems to hold one matrix as embedding and as head, by its first rows."""
    if files.kind != "gguf" or HEAD not in {one.name for one in check_gguf(files.path).tensors}:
        return False
    return _apart(files.path, ROWS) <= MOST_APART


def _apart(path: Path, rows: int | None = None) -> float:
    """Relative difference of embedding and head, by all or the first rows; infinite if the shapes
    differ."""
    tensors = {one.name: one for one in gguf_source(path).tensors}
    embedding, head = tensors[EMBEDDING], tensors[HEAD]
    if embedding.shape != head.shape:
        return float("inf")
    apart = size = 0.0
    count = min(rows or head.shape[0], head.shape[0])
    for start in range(0, count, ROWS):
        stop = min(start + ROWS, count)
        values = head.read(start, stop)
        difference = values - embedding.read(start, stop)
        apart += float(np.square(difference, dtype=np.float64).sum())
        size += float(np.square(values, dtype=np.float64).sum())
    return (apart / size) ** 0.5 if size else float("inf")
