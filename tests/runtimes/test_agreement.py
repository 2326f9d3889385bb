"""Two engines, one protocol: the same dequantized weights must say the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from galenic.data.benchmarks.medqa import MEDQA_5OPTIONS
from galenic.data.sources import open_source
from galenic.models.files import ModelFiles
from galenic.runtimes.base import Runtime, Writing, encode_requests
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.tree import Request, build_pack, sum_by_request
from tiny import write_tiny_gguf

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

TEXTS = (
    "Question: a 54-year-old man, 120/80 mmHg\nA. aspirin 81 mg\nAnswer:",
    "naïve café – 37.5 °C, 患者",
    "",
)


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.stem, "gguf", path, f"{hash(str(path)) & 0xFFFFFFFF:064x}")


def load_both(model: ModelFiles) -> tuple[Runtime, Runtime]:
    from galenic.runtimes.torch import TorchRuntime

    return LlamaRuntime(model, threads=1), TorchRuntime(model, threads=1)


def asked_of(size: int, prefix: tuple[int, ...]) -> list[Request]:
    rng = random.Random(4)
    asked = []
    for branches in (1, 5, 3):
        stem = (*prefix, *(rng.randrange(3, size) for _ in range(25)))
        for _ in range(branches):
            tail = tuple(rng.randrange(3, size) for _ in range(rng.randrange(2, 9)))
            asked.append(Request((*stem, *tail), len(stem)))
    return asked


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("prefix", [(), tuple(range(10, 30))], ids=["plain", "prefix"])
def test_tiny_models(tmp_path: Path, architecture: str, prefix: tuple[int, ...]) -> None:
    path = write_tiny_gguf(tmp_path / f"{architecture}.gguf", seed=2, architecture=architecture)
    llama, torch = load_both(files(path))
    with llama, torch:
        assert llama.encode_batch(TEXTS) == torch.encode_batch(TEXTS)
        assert llama.chat_template == torch.chat_template
        assert llama.info.num_parameters == torch.info.num_parameters
        asked = asked_of(250, prefix)
        pack = build_pack(asked, prefix)
        found = [sum_by_request(pack, runtime.score(pack)) for runtime in (llama, torch)]
        # llama.cpp keeps keys and values in float16
        np.testing.assert_allclose(found[0], found[1], rtol=0, atol=0.02)
        prompt = "Question: what"
        made = [runtime.generate(prompt, Writing(max_tokens=8)).text for runtime in (llama, torch)]
        assert made[0] == made[1]


def as_float32(source: Path, target: Path) -> Path:
    """The same model with every tensor dequantized, as another GGUF."""
    reader: Any = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.slow
def test_the_real_model(converted_smollm2: ModelFiles, tmp_path: Path) -> None:
    """The 4-bit file in llama.cpp, the same weights as float32 in llama.cpp, and in PyTorch."""
    examples = open_source("sample").load(MEDQA_5OPTIONS).examples[:6]
    pairs = [(MEDQA_5OPTIONS.prompt(e), f" {label}") for e in examples for label in e.options]
    packed, torch = load_both(converted_smollm2)
    single = as_float32(converted_smollm2.path, tmp_path / "f32.gguf")
    exact = LlamaRuntime(files(single), threads=1)
    with packed, torch, exact:
        asked = encode_requests(torch, pairs)
        assert asked == encode_requests(packed, pairs) == encode_requests(exact, pairs)
        pack = build_pack(asked)
        scores = [sum_by_request(pack, runtime.score(pack)) for runtime in (packed, exact, torch)]
    np.testing.assert_allclose(scores[1], scores[2], rtol=0, atol=0.02)
    # for 4-bit weights llama.cpp rounds the activations to 8 bits (0.13 nats on average): close
    assert np.abs(scores[0] - scores[2]).mean() < 0.25
    assert np.abs(scores[0] - scores[2]).max() > 1e-3
