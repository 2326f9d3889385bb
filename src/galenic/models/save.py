"""Writing a changed model as an ordinary Hugging Face folder, and reading it back to be sure."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.layers import Layout
from galenic.models.quiet import quiet_transformers

__all__ = ["TOLERANCE", "check_saved", "save_layout"]

TOLERANCE = 1e-4
"""Largest difference of logits that is accepted, as a share of the largest logit."""
CHECKED_TOKENS = 64
KEPT_FILES = (
    "tokenizer*",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "LICENSE*",
    "NOTICE*",
)
"""Files that are taken over as they are: the tokenizer, and what a licence asks to pass on."""


def save_layout(layout: Layout, source: Path, folder: Path, dtype: Any) -> None:
    """Write config and weights, and copy the tokenizer from the parent's folder.

    Args:
        layout: the model; its parameters are converted to ``dtype`` in place.
        source: the parent's folder.
        folder: an empty folder.
        dtype: ``torch.dtype`` of the stored weights.
    """
    for parameter in layout.model.parameters():
        # Not model.to(dtype): rotary frequencies, which no file holds, stay float32 when loaded.
        parameter.data = parameter.data.to(dtype)
    with quiet_transformers():
        layout.model.save_pretrained(folder)
    for pattern in KEPT_FILES:
        for file in source.glob(pattern):
            if file.is_file() and not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)


def check_saved(layout: Layout, folder: Path) -> dict[str, float]:
    """Load a folder with plain transformers and compare it with the model in memory.

    Returns:
        ``logit_difference``: the largest, as a share of the largest logit; ``tolerance``.

    Raises:
        UserError: a weight or logit is not finite, a tensor is missing or left over, or the logits
            differ by more than `TOLERANCE`.
    """
    import torch
    import transformers

    for name, parameter in layout.model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise _failed(f"{name} holds values that are not finite")
    with quiet_transformers():
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=layout.model.dtype, output_loading_info=True
        )
    if wrong := {what: sorted(names)[:3] for what, names in info.items() if names}:
        raise _failed(f"transformers does not read it as it is ({wrong})")
    generator = torch.Generator().manual_seed(0)
    vocabulary = layout.model.get_input_embeddings().weight.shape[0]
    tokens = torch.randint(vocabulary, (1, CHECKED_TOKENS), generator=generator)
    with torch.no_grad():
        expected = layout.model(tokens, use_cache=False).logits.double()
        found = model.eval()(tokens, use_cache=False).logits.double()
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:  # also when it is not a number
        raise _failed(f"its logits differ by {difference:.2g} of the largest from those in memory")
    return {"logit_difference": difference, "tolerance": TOLERANCE}


def _failed(why: str) -> UserError:
    return UserError(f"the model was not saved, for read back {why}. Nothing was kept.")
