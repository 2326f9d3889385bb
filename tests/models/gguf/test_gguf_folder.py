"""A folder and the GGUF made from it must predict the same, whatever the architecture."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, quants

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.folder import folder_to_gguf
from galenic.models.gguf.header import read_header, read_metadata
from galenic.runtimes import llama_context
from galenic.runtimes.base import encode_requests
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.tree import Request, build_pack, sum_by_request

pytest.importorskip("torch", reason="needs the train extra")

from tiny_hf import CHAT_TEMPLATE, FAMILIES, write_tiny_hf
from tiny_pieces import KINDS

TEXTS = (
    "Question: a 54-year-old man, 120/80 mmHg\nA. aspirin 81 mg\nAnswer:",
    "naïve café – 37.5 °C, 患者   of\n\n the <|im_end|>patient",
    "",
)
LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{family: (family, {}) for family in FAMILIES},
    "llama3 scaling": (
        "llama",
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, **LLAMA3,
                             "original_max_position_embeddings": 64}},
    ),
    "older llama config": (
        "llama",
        {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": {"type": "linear",
                                                                     "factor": 2.0}},
    ),
    "yarn": (
        "qwen3",
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
    ),
    "longrope": (
        "phi3",
        {"original_max_position_embeddings": 32,
         "rope_parameters": {"rope_type": "longrope", "rope_theta": 1000.0,
                             "original_max_position_embeddings": 32,
                             "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                             "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}},
    ),
    "scaled gemma": (
        "gemma3",
        {"rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}},
    ),
    "parameters without theta": (
        "llama", {"rope_parameters": {"rope_type": "default"}, "rope_theta": 500.0}
    ),
    "scaled parameters without theta": (
        "mistral", {"rope_parameters": {"rope_type": "linear", "factor": 3.0}, "rope_theta": 500.0}
    ),
    "scaling before parameters": (
        "llama",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 90.0}, "rope_theta": 500.0,
         "rope_scaling": {"type": "llama3", **LLAMA3, "original_max_position_embeddings": 64}},
    ),
    "theta of the scaling": (
        "qwen2",
        {"rope_parameters": None, "rope_theta": 90.0,
         "rope_scaling": {"type": "linear", "rope_theta": 500.0, "factor": 2.0}},
    ),
    "yarn without original": (
        "llama",
        {"rope_parameters": None, "rope_theta": 500.0, "max_position_embeddings": 64,
         "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    ),
    "original beside the parameters": (
        "llama",
        {"rope_parameters": {"rope_type": "llama3", **LLAMA3,
                             "original_max_position_embeddings": 999},
         "rope_theta": 500.0, "original_max_position_embeddings": 64},
    ),
    "older gemma config": (
        "gemma3",
        {"rope_parameters": None, "rope_theta": 1000.0, "rope_local_base_freq": 300.0,
         "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    "gemma without thetas": (
        "gemma3",
        {"rope_parameters": {"full_attention": {"rope_type": "default"},
                             "sliding_attention": {"rope_type": "default"}},
         "rope_theta": 1000.0, "rope_local_base_freq": 300.0},
    ),
}  # fmt: skip


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.stem, "folder" if path.is_dir() else "gguf", path, "0" * 64)


def change(file: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None takes a key out."""
    facts = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in facts.items() if value is not None}))


@pytest.fixture
def exact_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp with float32 keys and values, which shows what float16 would hide."""
    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)


def asked_of(size: int) -> list[Request]:
    """Texts of 10 and of 45 tokens and more: within and beyond windows and first contexts."""
    rng = random.Random(4)
    asked = []
    for length, branches in ((10, 2), (45, 3)):
        stem = tuple(rng.randrange(3, size) for _ in range(length))
        for _ in range(branches):
            tail = tuple(rng.randrange(3, size) for _ in range(rng.randrange(2, 9)))
            asked.append(Request((*stem, *tail), len(stem)))
    return asked


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_both_engines_agree(variant: str, tmp_path: Path, exact_attention: None) -> None:
    from galenic.runtimes.torch import TorchRuntime

    family, changes = VARIANTS[variant]
    folder = write_tiny_hf(tmp_path / f"tiny-{family}", family, seed=3)
    change(folder / "config.json", **changes)
    path = tmp_path / "tiny.gguf"
    folder_to_gguf(folder, path, "F32")
    with (
        LlamaRuntime(files(path), threads=1) as llama,
        TorchRuntime(files(folder), threads=1) as torch,
    ):
        assert llama.encode_batch(TEXTS) == torch.encode_batch(TEXTS)
        assert llama.chat_template == torch.chat_template == CHAT_TEMPLATE
        longest = llama.info.context_length
        asked = [request for request in asked_of(290) if len(request.tokens) <= longest]
        pack = build_pack(asked)
        found = [sum_by_request(pack, runtime.score(pack)) for runtime in (llama, torch)]
    # llama.cpp has the GELU of Gemma as a table of float16 values
    np.testing.assert_allclose(*found, rtol=0, atol=0.02 if family == "gemma3" else 2e-3)


@pytest.mark.parametrize("differs", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
def test_a_stored_head_counts_though_the_configuration_says_tied(
    family: str, differs: bool, tmp_path: Path, exact_attention: None
) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    from galenic.models.gguf.dequantize import dequantized_folder

    folder = write_tiny_hf(tmp_path / "tiny", family, seed=3)
    change(folder / "config.json", tie_word_embeddings=True)
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    weights["lm_head.weight"] = embedding + differs * torch.randn_like(embedding)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    path = tmp_path / "tiny.gguf"
    folder_to_gguf(folder, path, "F32")
    assert differs == any(one.name == "output.weight" for one in read_header(path).tensors)
    tokens = list(range(5, 35))

    def expected(where: Path) -> Any:
        model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
        with torch.no_grad():
            return torch.log_softmax(model(torch.tensor([tokens])).logits[0], -1).numpy()

    with LlamaRuntime(files(path), threads=1) as llama:
        found = llama.log_probs(tokens)
    np.testing.assert_allclose(found, expected(folder), rtol=0, atol=0.02)
    back = expected(dequantized_folder(files(path)))
    np.testing.assert_allclose(back, found, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_sentencepiece_models_agree(kind: str, tmp_path: Path, exact_attention: None) -> None:
    from galenic.runtimes.torch import TorchRuntime

    family = {"llama2": "llama", "gemma3 tied": "gemma3"}.get(kind, kind)
    folder = write_tiny_hf(tmp_path / "Phi-3-tiny", family, seed=6, pieces=kind)
    path = tmp_path / "tiny.gguf"
    folder_to_gguf(folder, path, "F32")
    with (
        LlamaRuntime(files(path), threads=1) as llama,
        TorchRuntime(files(folder), threads=1) as torch,
    ):
        assert llama.encode_batch(TEXTS) == torch.encode_batch(TEXTS)
        pack = build_pack(asked_of(590))
        found = [sum_by_request(pack, runtime.score(pack)) for runtime in (llama, torch)]
    np.testing.assert_allclose(*found, rtol=0, atol=0.02 if family == "gemma3" else 2e-3)


def test_float16_attention_stays_close(tmp_path: Path) -> None:
    """As the runtime is used: keys and values in float16; the wide tiny weights magnify that."""
    from galenic.runtimes.torch import TorchRuntime

    folder = write_tiny_hf(tmp_path / "tiny", "gemma3", seed=3)
    folder_to_gguf(folder, tmp_path / "tiny.gguf", "F32")
    pack = build_pack(asked_of(290))
    with (
        LlamaRuntime(files(tmp_path / "tiny.gguf"), threads=1) as llama,
        TorchRuntime(files(folder), threads=1) as torch,
    ):
        found = [sum_by_request(pack, runtime.score(pack)) for runtime in (llama, torch)]
    np.testing.assert_allclose(*found, rtol=0, atol=0.02)


def test_half_precision_and_shards(tmp_path: Path) -> None:
    """bfloat16 weights in two files survive bit for bit as BF16; F16 rounds them at most."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = write_tiny_hf(tmp_path / "tiny", "qwen2", seed=5)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    halved = write_tiny_hf(tmp_path / "halved", "qwen2", seed=5)
    (halved / "model.safetensors").unlink()
    model.save_pretrained(halved, max_shard_size="100KB")
    assert len(list(halved.glob("*.safetensors"))) > 1
    weight = model.model.layers[1].mlp.down_proj.weight.float().detach().numpy()
    for type_name in ("BF16", "F16"):
        path = tmp_path / f"{type_name}.gguf"
        folder_to_gguf(halved, path, type_name)
        read: Any = next(t for t in GGUFReader(path).tensors if t.name == "blk.1.ffn_down.weight")
        assert read.tensor_type.name == type_name
        values = quants.dequantize(read.data, read.tensor_type)
        np.testing.assert_array_equal(
            values, weight.astype(np.float16) if type_name == "F16" else weight
        )
        types = {t.name: t.type for t in read_header(path).tensors}
        assert types["output_norm.weight"] == types["blk.0.attn_q.bias"] == "F32"


def test_the_header(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "Phi-3-tiny", "phi3")
    change(folder / "config.json", sliding_window=100)
    folder_to_gguf(folder, tmp_path / "tiny.gguf", "F32")
    found = read_metadata(tmp_path / "tiny.gguf", arrays=["tokenizer.ggml.token_type"])
    expected = {
        "general.architecture": "phi3", "general.name": "Phi_3-tiny", "phi3.block_count": 3,
        "phi3.context_length": 100, "phi3.embedding_length": 48, "phi3.feed_forward_length": 96,
        "phi3.attention.head_count": 4, "phi3.attention.head_count_kv": 2,
        "phi3.rope.dimension_count": 12, "phi3.rope.freq_base": 10000.0, "phi3.vocab_size": 297,
        "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.bos_token_id": 294,
        "tokenizer.ggml.eos_token_id": 296, "tokenizer.ggml.unknown_token_id": 293,
        "tokenizer.ggml.padding_token_id": 293, "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False, "tokenizer.chat_template": CHAT_TEMPLATE,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert found["tokenizer.ggml.token_type"] == [1] * 293 + [3] * 4


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llama", {"model_type": "falcon"}, "unknown architecture.*'falcon'.*Supported are Llama"),
        ("llama", {"hidden_size": None}, "hidden_size is None"),
        ("llama", {"num_key_value_heads": 3}, "impossible"),
        ("llama", {"vocab_size": 298}, r"embed_tokens.weight has the shape \(297, 48\); .*298"),
        ("llama", {"num_hidden_layers": 4}, r"lacks 9 tensors, for example model.layers.3"),
        ("llama", {"num_hidden_layers": 2}, "9 tensors that a llama model has no place for"),
        ("llama", {"hidden_act": "relu"}, "activation relu"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "lack or misstate 'factor'"),
        ("qwen2", {"rope_parameters": {"rope_type": "llama3", **LLAMA3}}, "'llama3'"),
        ("qwen3", {"attention_bias": True}, "attention_bias"),
        ("gemma3", {"query_pre_attn_scalar": 20}, "query_pre_attn_scalar 20"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ("gemma3", {"layer_types": ["full_attention", "full_attention", "sliding_attention"]},
         "equal distances"),
        ("phi3", {"head_dim": 16}, "head_dim 16"),
        ("qwen2", {"head_dim": 16}, "head_dim 16"),
        ("phi3", {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0] * 5,
                                      "original_max_position_embeddings": 32}},
         "5 rotary factors; 6 were expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_written(
    family: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = write_tiny_hf(tmp_path / "tiny", family)
    change(folder / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        folder_to_gguf(folder, tmp_path / "tiny.gguf", "F32")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_broken_weights_leave_nothing(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = write_tiny_hf(tmp_path / "tiny", "llama")
    weights = load_file(folder / "model.safetensors")
    for value, type_name, message in ((np.nan, "F32", "not finite"), (1e5, "F16", "65504")):
        weights["model.layers.2.mlp.down_proj.weight"][3, 5] = value
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UserError, match=f"blk.2.ffn_down.weight has .*{message}"):
            folder_to_gguf(folder, tmp_path / "tiny.gguf", type_name)
        assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    with pytest.raises(UserError, match="unknown dense tensor type 'Q4_K'"):
        folder_to_gguf(folder, tmp_path / "tiny.gguf", "Q4_K")
    with pytest.raises(UserError, match="there is no folder"):
        folder_to_gguf(folder, tmp_path / "nowhere" / "tiny.gguf", "F32")


def test_biases_of_llama(tmp_path: Path, exact_attention: None) -> None:
    """Optional ones, of every projection; query and key biases are reordered with their rows."""
    import torch
    import transformers

    from galenic.runtimes.torch import TorchRuntime

    folder = write_tiny_hf(tmp_path / "tiny", "llama")
    change(folder / "config.json", attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config)
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    folder_to_gguf(folder, tmp_path / "tiny.gguf", "F32")
    pack = build_pack(asked_of(290))
    with (
        LlamaRuntime(files(tmp_path / "tiny.gguf"), threads=1) as llama,
        TorchRuntime(files(folder), threads=1) as torch_runtime,
    ):
        assert llama.info.num_parameters == torch_runtime.info.num_parameters
        found = [sum_by_request(pack, r.score(pack)) for r in (llama, torch_runtime)]
    np.testing.assert_allclose(*found, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_there_and_back(converted_smollm2: ModelFiles, tmp_path: Path) -> None:
    """The real model: GGUF to folder to GGUF in half precision, scored by both engines."""
    from galenic.models.gguf.dequantize import dequantized_folder
    from galenic.runtimes.torch import TorchRuntime

    original = converted_smollm2
    folder = dequantized_folder(original)
    folder_to_gguf(folder, tmp_path / "f16.gguf", "F16")
    prompt = "Question: Which drug lowers blood pressure?\nA. Lisinopril 10 mg\nAnswer:"
    pairs = [(prompt, f" {answer}") for answer in ("A", "lisinopril", "血压", "yes, 1234 mg")]
    with (
        LlamaRuntime(files(tmp_path / "f16.gguf"), threads=1) as llama,
        LlamaRuntime(original, threads=1) as packed,
        TorchRuntime(original, threads=1) as torch,
    ):
        asked = encode_requests(torch, pairs)
        assert asked == encode_requests(llama, pairs) == encode_requests(packed, pairs)
        assert llama.chat_template == packed.chat_template
        pack = build_pack(asked)
        found = [sum_by_request(pack, runtime.score(pack)) for runtime in (llama, torch)]
    # with F16 weights llama.cpp rounds the activations to float16 too
    np.testing.assert_allclose(*found, rtol=1e-3, atol=0.02)
    before: Any = {t.name: t for t in GGUFReader(original.path).tensors}
    after: Any = {t.name: t for t in GGUFReader(tmp_path / "f16.gguf").tensors}
    assert set(before) == set(after)
    for name in ("token_embd.weight", "blk.3.attn_q.weight", "blk.29.attn_k.weight"):
        weights = quants.dequantize(before[name].data, before[name].tensor_type)
        np.testing.assert_array_equal(after[name].data, weights.astype(np.float16))
