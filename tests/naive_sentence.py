"""Vectors of sentences as a loop, with transformers only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["naive_vector"]


def naive_vector(encoder: Path, text: str, longest: int = 96) -> np.ndarray[Any, Any]:
    """The mean over all tokens of one text alone, in float64, of length 1."""
    import torch
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(encoder)
    model = transformers.AutoModel.from_pretrained(encoder).double().eval()
    text = text.replace("\ud800", "?")
    tokens = tokenizer(text, truncation=True, max_length=longest, split_special_tokens=True)
    with torch.no_grad():
        states = model(input_ids=torch.tensor([tokens["input_ids"]])).last_hidden_state[0]
    total = np.zeros(states.shape[1])
    for state in states:
        total += state.numpy()
    mean = total / len(states)
    return np.asarray(mean / np.sqrt((mean * mean).sum()))
