"""Tiny random encoders with their own kinds of tokenizer: real configs and code, no download."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ENCODERS", "write_judge", "write_tiny_encoder"]

ENCODERS = ("bert", "roberta", "mpnet", "deberta-v2", "modernbert")
WORDS = ("the", "of", "and", "patient", "question", "abstract", "yes", "no", "maybe", "pain")


def write_tiny_encoder(
    folder: Path, family: str, *, head: bool = False, seed: int = 0, positions: int = 96
) -> Path:
    """Write config, random float32 weights and tokenizer; same seed, same files.

    With ``head`` the model has a multiple-choice head; without, it is the encoder alone.
    """
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(family, positions)
    tokenizer.save_pretrained(folder)
    config = _config(family, tokenizer, positions)
    auto = transformers.AutoModelForMultipleChoice if head else transformers.AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto.from_config(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # otherwise all 0: nothing to test
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def write_judge(
    folder: Path, labels: Mapping[int, str], *, always: Sequence[float] | None = None
) -> Path:
    """Write a random BERT with a head for pairs; ``always`` gives fixed logits instead."""
    import torch
    import transformers

    write_tiny_encoder(folder, "bert")
    config = transformers.AutoConfig.from_pretrained(folder)
    config.id2label, config.label2id = dict(labels), {name: at for at, name in labels.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        head = model.classifier
        torch.nn.init.normal_(head.weight, std=0.0 if always else 2.0)
    if always:
        head.bias.data = torch.tensor(always)
    model.save_pretrained(folder)
    return folder


def _tokenizer(family: str, positions: int) -> Any:
    from transformers import PreTrainedTokenizerFast

    core, marks = _byte_level() if family in ("roberta", "mpnet") else _word_pieces()
    names = ["input_ids", "attention_mask"]
    if family in ("bert", "deberta-v2"):
        names.insert(1, "token_type_ids")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=positions,
        model_input_names=names,
        clean_up_tokenization_spaces=False,
        **marks,
    )


def _word_pieces() -> tuple[Any, dict[str, str]]:
    """As BERT: words, else letters; segments 0 and 1."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [*specials, *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    core = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return core, dict(zip(names, specials, strict=True))


def _byte_level() -> tuple[Any, dict[str, str]]:
    """As RoBERTa: bytes; two marks between the texts, no segments."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    specials = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    pieces = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    names = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
    marks = dict(zip(names, specials, strict=True))
    return core, marks | {"bos_token": "<s>", "eos_token": "</s>"}


def _config(family: str, tokenizer: Any, positions: int) -> Any:
    import transformers

    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": positions,
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if family == "bert":
        return transformers.BertConfig(**shape)
    if family in ("roberta", "mpnet"):  # positions are counted from behind that of padding
        shape |= {"max_position_embeddings": positions + 2}
        kind = transformers.RobertaConfig if family == "roberta" else transformers.MPNetConfig
        return kind(**shape)
    if family == "deberta-v2":
        shape |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
        return transformers.DebertaV2Config(**shape)
    if family == "modernbert":
        shape |= {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
        shape |= {"local_attention": 16, "global_attn_every_n_layers": 2}
        return transformers.ModernBertConfig(**shape)
    raise ValueError(f"unknown family {family!r}")
