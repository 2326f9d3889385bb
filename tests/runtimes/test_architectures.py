"""Architectures beyond the six that are meant to work: packed or not, the scores must be right."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.models.files import ModelFiles
from galenic.runtimes.tree import Request, build_pack, sum_by_request
from tiny_hf import write_tiny_tokenizer

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
# name, further settings, whether it runs packed
ARCHITECTURES = [
    ("gpt2", GPT2, True),  # learned positions
    ("gpt_neox", {}, True),  # parallel blocks, partial rotary
    ("gemma2", {"sliding_window": 16}, True),  # soft caps on scores and logits
    ("mixtral", EXPERTS, True),  # experts
    ("olmo2", {}, True),  # norms behind the layers
    ("granite", {}, True),  # scaled logits
    ("biogpt", {}, True),
    ("gpt_oss", EXPERTS | {"sliding_window": 16}, False),  # attention sinks
    ("llama4_text", {"attention_chunk_size": 16, "num_local_experts": 2}, False),  # chunks
    ("bloom", {"n_layer": 3, "n_head": 4}, False),  # attention of its own (ALiBi)
    ("mamba", {}, False),  # no attention at all
]


@pytest.mark.parametrize(
    ("name", "further", "packed"), ARCHITECTURES, ids=[name for name, *_ in ARCHITECTURES]
)
def test_scores_equal_those_of_single_texts(
    tmp_path: Path, name: str, further: dict[str, Any], packed: bool
) -> None:
    from galenic.runtimes.torch import TorchRuntime

    write_tiny_tokenizer(tmp_path)
    config = transformers.AutoConfig.for_model(name, **(SIZES | further))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.mul_(8)  # so that tokens matter
    model.save_pretrained(tmp_path)
    rng = random.Random(1)
    asked = []
    for length, branches in ((20, 3), (60, 2)):
        stem = tuple(rng.randrange(3, 290) for _ in range(length))
        for _ in range(branches):
            tail = tuple(rng.randrange(3, 290) for _ in range(rng.choice([2, 9, 40])))
            asked.append(Request(stem + tail, length))
    expected = []
    for request in asked:
        with torch.no_grad():
            logits = model(torch.tensor([request.tokens]), use_cache=False).logits[0]
        logprobs = logits.double().log_softmax(-1)
        places = range(request.start, len(request.tokens))
        expected.append(sum(float(logprobs[at - 1, request.tokens[at]]) for at in places))
    with TorchRuntime(ModelFiles(name, "folder", tmp_path, "0" * 64), threads=1) as runtime:
        assert runtime.packs is packed
        pack = build_pack(asked)
        found = sum_by_request(pack, runtime.score(pack))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
