"""Tiny GGUF models with random weights and a byte-level tokenizer, for tests.

They load in llama.cpp and in transformers alike: a GPT-2 style vocabulary of all 256 bytes, a few
merges and three special tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

__all__ = ["CHAT_TEMPLATE", "MERGES", "SPECIAL_TOKENS", "TinyShape", "tiny_bytes", "tiny_tensors",
           "tiny_vocabulary", "write_tiny_gguf"]  # fmt: skip

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("Ġ t", "h e", "Ġ a", "i n", "Ġt he", "e r", "o n", "Ġ A", "Ġ B", "Ġ C", "Ġ D")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TinyShape:
    """Sizes of a tiny model."""

    num_layers: int = 2
    hidden_size: int = 32
    num_heads: int = 4
    num_kv_heads: int = 2
    ffn_size: int = 64
    context_length: int = 2048
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5
    tied: bool = True

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte, in byte order."""
    kept = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte if byte in kept else next(others)) for byte in range(256)]


def tiny_vocabulary() -> list[str]:
    """Special tokens, then the 256 bytes, then the merged pieces."""
    return [*SPECIAL_TOKENS, *byte_symbols(), *(merge.replace(" ", "") for merge in MERGES)]


def tiny_bytes(tokens: list[int]) -> bytes:
    """The bytes that tokens stand for, without special ones."""
    symbols, vocabulary = byte_symbols(), tiny_vocabulary()
    pieces = "".join(vocabulary[token] for token in tokens if token >= len(SPECIAL_TOKENS))
    return bytes(symbols.index(symbol) for symbol in pieces)


def tiny_tensors(
    seed: int = 0, shape: TinyShape | None = None, architecture: str = "llama"
) -> dict[str, NDArray[np.float32]]:
    """Random weights under their GGUF names, each of shape (out, in) or (size,).

    Their scale keeps activations near one, so that predictions are peaked and depend on context.
    Query and key rows are in GGUF order: for llama, rotary pairs are neighbours.
    """
    shape = shape or TinyShape()
    rng = np.random.default_rng(seed)
    hidden, ffn, kv = shape.hidden_size, shape.ffn_size, shape.num_kv_heads * shape.head_size
    vocab = len(tiny_vocabulary())

    def matrix(rows: int, columns: int, gain: float = 1.0) -> NDArray[np.float32]:
        return (rng.normal(size=(rows, columns)) * gain / columns**0.5).astype(np.float32)

    def norm() -> NDArray[np.float32]:
        return (1 + 0.2 * rng.normal(size=hidden)).astype(np.float32)

    tensors = {"token_embd.weight": matrix(vocab, hidden, gain=3.0), "output_norm.weight": norm()}
    if not shape.tied:
        tensors["output.weight"] = matrix(vocab, hidden, gain=3.0)
    for layer in range(shape.num_layers):
        tensors |= {
            f"blk.{layer}.attn_norm.weight": norm(),
            f"blk.{layer}.attn_q.weight": matrix(hidden, hidden, gain=2.0),
            f"blk.{layer}.attn_k.weight": matrix(kv, hidden, gain=2.0),
            f"blk.{layer}.attn_v.weight": matrix(kv, hidden),
            f"blk.{layer}.attn_output.weight": matrix(hidden, hidden),
            f"blk.{layer}.ffn_norm.weight": norm(),
            f"blk.{layer}.ffn_gate.weight": matrix(ffn, hidden),
            f"blk.{layer}.ffn_up.weight": matrix(ffn, hidden),
            f"blk.{layer}.ffn_down.weight": matrix(hidden, ffn),
        }
        if architecture == "qwen2":
            for name, size in (("q", hidden), ("k", kv), ("v", kv)):
                bias = rng.normal(size=size).astype(np.float32)
                tensors[f"blk.{layer}.attn_{name}.bias"] = bias
    return tensors


def write_tiny_gguf(
    path: Path,
    *,
    seed: int = 0,
    architecture: str = "llama",
    shape: TinyShape | None = None,
    chat_template: str | None = CHAT_TEMPLATE,
    add_bos: bool = False,
    add_eos: bool = False,
) -> Path:
    """Write a tiny float32 model as GGUF.

    Args:
        path: of the file to write.
        seed: of the weights.
        architecture: ``"llama"`` or ``"qwen2"`` (biases, other rotary order).
        shape: sizes; `TinyShape`'s defaults when None.
        chat_template: Jinja text, or None to leave it out.
        add_bos: whether the tokenizer puts ``<|endoftext|>`` first.
        add_eos: whether the tokenizer puts ``<|im_end|>`` last.
    """
    shape = shape or TinyShape()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"tiny-{architecture}-{seed}")
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_layers)
    writer.add_feed_forward_length(shape.ffn_size)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, chat_template)
    writer.add_add_bos_token(add_bos)
    writer.add_add_eos_token(add_eos)
    for name, tensor in tiny_tensors(seed, shape, architecture).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, chat_template: str | None) -> None:
    vocabulary = tiny_vocabulary()
    special = len(SPECIAL_TOKENS)
    types = [gguf.TokenType.CONTROL] * special
    types += [gguf.TokenType.NORMAL] * (len(vocabulary) - special)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types(types)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_space_prefix(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
