"""Tokenization of calibration text, and its description in the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from galenic.data.calibration import CalibrationConfig, CalibrationText, pack
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint
from galenic.models.tokenizers.load import read_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["as_tensor", "describe_text", "load_tokenizer", "pack_tokens"]


def pack_tokens(
    config: CalibrationConfig, texts: Sequence[CalibrationText], checkpoint: Checkpoint
) -> NDArray[np.int64]:
    """Tokenize the text and cut it into sequences, shape (num_samples, seq_len).

    Raises:
        UserError: the sequences exceed the model's maximum length, or there is too little text.
    """
    longest = int(checkpoint.shapes.model.config.max_position_embeddings)
    if config.seq_len > longest:
        raise UserError(f"--seq-len {config.seq_len}: the model takes at most {longest} tokens.")
    tokenizer = load_tokenizer(checkpoint)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    empty = tokenizer("")["input_ids"]

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    start = empty[: -len(end)] if end and empty[-1:] == end else empty
    return pack(texts, encode, config, start=start, end=end)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Load the model's tokenizer with transformers."""
    return read_tokenizer(checkpoint.folder, gguf=checkpoint.files.kind == "gguf")


def as_tensor(tokens: NDArray[np.int64]) -> Any:
    """Convert the tokens to a tensor; also sets PyTorch's number of threads."""
    import torch

    from galenic.runtimes.threads import choose_threads

    torch.set_num_threads(choose_threads())
    return torch.from_numpy(tokens)


def describe_text(
    config: CalibrationConfig, texts: Sequence[CalibrationText], tokens: NDArray[np.int64] | None
) -> dict[str, Any]:
    """Describe the calibration text: sources with hashes; for packed tokens also sizes and seed."""
    sources = [{"source": text.source, "sha256": text.sha256} for text in texts]
    if tokens is None:
        return {"sources": sources, "documents": sum(len(text.documents) for text in texts)}
    return {
        "sources": sources,
        "num_samples": config.num_samples,
        "seq_len": config.seq_len,
        "seed": config.seed,
        "tokens_sha256": hashlib.sha256(tokens.astype("<i8").tobytes()).hexdigest(),
    }
