"""Tiny random Hugging Face models of several families: real configs and code paths, no download."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiny_pieces import write_tiny_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "CHAT_TEMPLATE",
    "FAMILIES",
    "MORE_FAMILIES",
    "write_tiny_adapter",
    "write_tiny_experts",
    "write_tiny_hf",
    "write_tiny_tokenizer",
]

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3")
MORE_FAMILIES = ("smollm3", "olmo2", "granite", "gemma2", "gpt_neox")
"""Tested together in tests/models/test_families.py: every stage, both engines."""
ADDS_BOS = ("llama", "mistral", "gemma3", "gemma2")
SPECIAL_TOKENS = ("<|endoftext|>", "<|begin|>", "<|im_start|>", "<|im_end|>")
SLIDING_WINDOW = 16
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MERGED_WORDS = ("Ġthe", "Ġof", "Ġand", "Ġpatient", "Question", "Answer", "Ġyes", "Ġno", "Ġmaybe")
"""Words that the tokenizer joins, written with the byte-level mark for a space."""


def write_tiny_hf(
    folder: Path,
    family: str,
    *,
    seed: int = 0,
    hidden_size: int = 48,
    pieces: str = "",
    pair_merges: int = 0,
) -> Path:
    """Write config, random float32 safetensors weights and tokenizer; same seed, same files.

    The weights are drawn wide (standard deviation 0.3 to 0.5), so that logits differ clearly from
    token to token. ``llama``, ``mistral`` and ``gemma3`` tokenizers put a start token first.
    With ``pieces``, the tokenizer is SentencePiece-style of that kind of `tiny_pieces.KINDS`;
    with ``pair_merges``, it has so many more tokens of two bytes, which little text uses.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    if pieces:
        tokenizer = write_tiny_pieces(folder, pieces)
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.save_pretrained(folder)
    else:
        add_bos = family in ADDS_BOS
        tokenizer = write_tiny_tokenizer(folder, add_bos=add_bos, pair_merges=pair_merges)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(family, len(tokenizer), hidden_size)
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "norm.weight")):  # otherwise all 0 or all 1: nothing to test
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def write_tiny_experts(folder: Path, family: str, *, seed: int = 0, hidden_size: int = 64) -> Path:
    """Write a random model with four experts a block, of which each token takes two."""
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tiny_tokenizer(folder)
    shape = {"vocab_size": len(tokenizer), "hidden_size": hidden_size}
    shape |= {"intermediate_size": 3 * hidden_size // 2}
    shape |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    shape |= {"max_position_embeddings": 512, "num_experts_per_tok": 2, "head_dim": 16}
    shape |= {"bos_token_id": len(tokenizer) - 3, "eos_token_id": len(tokenizer) - 1}
    own = {"num_local_experts": 4, "sliding_window": None}
    if family == "qwen3_moe":
        own = {"num_experts": 4, "moe_intermediate_size": 32, "norm_topk_prob": True}
    config = transformers.AutoConfig.for_model(
        family, **shape, **own, pad_token_id=None, initializer_range=0.3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def write_tiny_tokenizer(
    folder: Path, *, add_bos: bool = False, pair_merges: int = 0
) -> PreTrainedTokenizerFast:
    """Write a byte-level BPE tokenizer: 256 bytes, a few merged words, special tokens last."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = _vocabulary(alphabet)
    pairs = ((a, b) for a in alphabet for b in alphabet if a + b not in vocabulary)
    for pair in list(itertools.islice(pairs, pair_merges)):
        vocabulary["".join(pair)] = len(vocabulary)
        merges.append(pair)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL_TOKENS))
    if add_bos:
        core.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A",
            pair="<|begin|> $A $B",
            special_tokens=[("<|begin|>", core.token_to_id("<|begin|>"))],
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|begin|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def _vocabulary(alphabet: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Bytes first, then each merged word letter by letter from the left."""
    vocabulary = {symbol: number for number, symbol in enumerate(alphabet)}
    merges = []
    for word in MERGED_WORDS:
        for end in range(1, len(word)):
            if word[: end + 1] not in vocabulary:
                vocabulary[word[: end + 1]] = len(vocabulary)
                merges.append((word[:end], word[end]))
    return vocabulary, merges


def _build(family: str, vocab_size: int, hidden_size: int) -> Any:

    shape: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.4 * min(1.0, (48 / hidden_size) ** 0.5),  # activations of one size
        "bos_token_id": vocab_size - 3,
        "eos_token_id": vocab_size - 1,
        "pad_token_id": vocab_size - 4,
        "tie_word_embeddings": False,
        "use_cache": True,
    }
    builds = _build_first if family in FAMILIES else _build_more
    return builds(family, shape)


def _build_first(family: str, shape: dict[str, Any]) -> Any:
    import transformers

    if family == "llama":
        shape |= {"tie_word_embeddings": True}
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    if family == "mistral":
        shape |= {"head_dim": 16, "sliding_window": None}
        return transformers.MistralForCausalLM(transformers.MistralConfig(**shape))
    if family == "qwen2":
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape))
    if family == "qwen3":
        shape |= {"head_dim": 16, "tie_word_embeddings": True}
        return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape))
    if family == "gemma3":
        layers = ["sliding_attention", "full_attention", "sliding_attention"]
        shape |= {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": SLIDING_WINDOW}
        shape |= {"layer_types": layers, "tie_word_embeddings": True}
        return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**shape))
    if family == "phi3":
        shape |= {"original_max_position_embeddings": 512, "sliding_window": None}
        return transformers.Phi3ForCausalLM(transformers.Phi3Config(**shape))
    raise ValueError(family)


def _build_more(family: str, shape: dict[str, Any]) -> Any:
    import transformers

    if family == "smollm3":  # of four layers the last has no rotary positions
        shape |= {"num_hidden_layers": 5, "tie_word_embeddings": True}
        return transformers.SmolLM3ForCausalLM(transformers.SmolLM3Config(**shape))
    if family == "olmo2":
        return transformers.Olmo2ForCausalLM(transformers.Olmo2Config(**shape))
    if family == "granite":
        shape |= {"embedding_multiplier": 3.0, "residual_multiplier": 0.7, "logits_scaling": 1.5}
        shape |= {"attention_multiplier": 0.2, "tie_word_embeddings": True}
        return transformers.GraniteForCausalLM(transformers.GraniteConfig(**shape))
    if family == "gemma2":
        shape |= {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": SLIDING_WINDOW}
        shape |= {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0}
        shape |= {"num_hidden_layers": 4, "tie_word_embeddings": True}
        return transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**shape))
    if family == "gpt_neox":
        del shape["num_key_value_heads"]
        return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**shape))
    raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")


def write_tiny_adapter(folder: Path) -> Path:
    """A LoRA of rank 2 on the query maps of the tiny llama of width 32."""
    import json

    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    config |= {"bias": "none", "task_type": "CAUSAL_LM", "base_model_name_or_path": "hf"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    stem = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in range(3):
        tensors[stem.format(layer, "A")] = rng.normal(size=(2, 32)).astype("f4")
        tensors[stem.format(layer, "B")] = rng.normal(size=(32, 2)).astype("f4")
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder
