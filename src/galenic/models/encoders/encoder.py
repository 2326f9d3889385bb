"""Encoders with a multiple-choice head: one score for each pair of text and option.

These are the ``...ForMultipleChoice`` classes of transformers: BERT, RoBERTa, DeBERTa-v2, MPNet,
ModernBERT and about thirty more. The head is a linear layer on the first token's representation.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from galenic.errors import UserError
from galenic.models.configuration import loading, read_configuration
from galenic.models.encoders.pairs import PairTokenizer
from galenic.models.folder import config_json
from galenic.models.tokenizers.load import read_tokenizer

if TYPE_CHECKING:
    from galenic.models.files import ModelFiles

__all__ = [
    "Encoder",
    "is_multiple_choice",
    "load_encoder",
    "longest_pair",
    "refuse_encoder",
    "refuse_writer",
    "silent_report",
]

HEAD = "ForMultipleChoice"
WRITERS = ("ForCausalLM", "LMHeadModel")
SAME_SCORES = 1e-3
"""Accepted difference between padded and single scores, relative to max(1, largest score)."""
UNBOUNDED = 1 << 20
"""Limits above this mean that the tokenizer has none (transformers then states a huge number)."""


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder with its head.

    Attributes:
        model: transformers model, float32, in evaluation mode.
        pairs: tokenizer for (text, option) pairs.
    """

    model: Any
    pairs: PairTokenizer

    def scores(self, sequences: Sequence[Sequence[int]]) -> Any:
        """Score each tokenized pair with the head; returns shape (n,)."""
        device = next(self.model.parameters()).device
        inputs = {k: value.to(device) for k, value in self.pairs.collate(sequences).items()}
        return self.model(**inputs).logits[:, 0]


def is_multiple_choice(files: ModelFiles) -> bool:
    """Whether a model is an encoder with a multiple-choice head, judged by its config alone."""
    if files.kind != "folder":
        return False
    config = config_json(files.path)
    return any(str(name).endswith(HEAD) for name in config.get("architectures") or ())


def refuse_encoder(config: Any, name: str) -> None:
    """Raise UserError if a transformers ``config`` is that of an encoder, which writes no text."""
    written = [str(kind) for kind in config.architectures or ()]
    if any(kind.endswith(HEAD) for kind in written):
        raise UserError(
            f"{name} is an encoder with a multiple-choice head: it chooses among options and "
            "writes no text. `galenic evaluate` measures it with the scoring `head`."
        )
    writes = getattr(config, "is_decoder", False) or any(k.endswith(WRITERS) for k in written)
    if _is_encoder(config) and not writes:
        raise UserError(
            f"{name} is an encoder ({config.model_type}): it reads, and writes no text. Give it a "
            "multiple-choice head with `galenic encoder`, and evaluate that."
        )


def refuse_writer(files: ModelFiles) -> Any:
    """Check by its config that a model is an encoder, and return the transformers config.

    Raises:
        UserError: the model is not an encoder, or its config cannot be read.
    """
    import transformers

    if files.kind != "folder":
        raise UserError(f"{files.name} is a GGUF file; an encoder is a Hugging Face folder.")
    config = read_configuration(files.path, files.name)
    if not _is_encoder(config):
        raise UserError(
            f"{files.name} is a {config.model_type}, for which transformers "
            f"{transformers.__version__} has no multiple-choice head. Name a BERT, RoBERTa, "
            "DeBERTa-v2, MPNet, ModernBERT or the like; models that write are tuned with "
            "`galenic finetune`."
        )
    return config


def load_encoder(
    files: ModelFiles, *, seed: int | None = None, longest: int | None = None
) -> Encoder:
    """Load an encoder with its multiple-choice head, and check that batching keeps its scores.

    Args:
        files: a Hugging Face folder.
        seed: seed for initialising a head where the model has none; None requires a trained head.
        longest: maximum tokens of a pair; None uses the limit of model and tokenizer.

    Raises:
        UserError: the model is not an encoder, has no head, cannot be loaded, or supports fewer
            than ``longest`` tokens.
    """
    import torch
    from transformers import AutoModelForMultipleChoice

    from galenic.models.quiet import quiet_transformers

    config = refuse_writer(files)
    tokenizer = read_tokenizer(files.path)
    with loading(files.name), torch.random.fork_rng(), quiet_transformers(), silent_report():
        torch.manual_seed(seed or 0)
        model, found = AutoModelForMultipleChoice.from_pretrained(
            files.path, config=config, dtype=torch.float32, output_loading_info=True
        )
    _check_loaded(files.name, model, found, new_head=seed is not None)
    limit = longest_pair(model, tokenizer)
    if longest is not None and longest > limit:
        raise UserError(f"{files.name} takes at most {limit} tokens, not {longest}. Give fewer.")
    takes = "token_type_ids" in inspect.signature(model.forward).parameters
    encoder = Encoder(model.eval(), PairTokenizer(tokenizer, longest or limit, segments=takes))
    _check_padding(files.name, encoder)
    return encoder


def longest_pair(model: Any, tokenizer: Any) -> int:
    """Maximum input length in tokens of model and tokenizer; 512 where neither has a limit."""
    import torch

    limits = [int(tokenizer.model_max_length)]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions:
        limits.append(int(positions))
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa-like models start positions after the padding index
            first = 0 if module.padding_idx is None else int(module.padding_idx) + 1
            limits.append(module.num_embeddings - first)
    limit = min(limits)
    return 512 if limit > UNBOUNDED else limit


def _is_encoder(config: Any) -> bool:
    from transformers.models.auto import modeling_auto

    known = modeling_auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES
    return config.model_type in known and not getattr(config, "is_decoder", False)


def _check_loaded(name: str, model: Any, found: Any, *, new_head: bool) -> None:
    """Raise UserError if weights other than the head (with ``new_head``) were not in the file."""
    body = f"{model.base_model_prefix}."
    missing = sorted(found["missing_keys"])
    lost = [key for key in missing if key.startswith(body) and "pooler" not in key]
    if lost or found["mismatched_keys"]:
        first = (lost or sorted(found["mismatched_keys"]))[0]
        raise UserError(f"{name}: the weights do not fit its config.json; the first is {first}.")
    if missing and not new_head:
        raise UserError(
            f"{name} has no trained multiple-choice head ({missing[0]} is missing). Train one with "
            "`galenic encoder`."
        )


def _check_padding(name: str, encoder: Encoder) -> None:
    """Raise UserError if a pair scores differently alone and padded beside a longer one."""
    import torch

    pairs = [pair.tokens for pair in encoder.pairs.encode([("a b c d e f", "g"), ("h", "i")])]
    with torch.no_grad():
        together = encoder.scores(pairs)
        single = torch.cat([encoder.scores([tokens]) for tokens in pairs])
    difference = float((together - single).abs().max())
    if not difference <= SAME_SCORES * max(1.0, float(single.abs().max())):
        raise UserError(
            f"{name} cannot be used: its scores for pairs of different lengths change when "
            f"they are computed together (by {difference:.2g})."
        )


@contextmanager
def silent_report() -> Iterator[None]:
    """Silence the report of missing weights that transformers logs; callers check them."""
    from transformers.utils import logging as messages

    before = messages.get_verbosity()
    messages.set_verbosity_error()
    try:
        yield
    finally:
        messages.set_verbosity(before)
