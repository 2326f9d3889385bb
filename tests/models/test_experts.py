"""Models with experts through every stage: written, read back from GGUFs, cut, tuned, quantized."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the train extra")
import transformers  # noqa: E402

from galenic.api.stages import finetune, merge  # noqa: E402
from galenic.artifact.manifest import Manifest  # noqa: E402
from galenic.compression.prune.config import PruneConfig  # noqa: E402
from galenic.compression.prune.run import prune  # noqa: E402
from galenic.compression.quantize.config import QuantizeConfig  # noqa: E402
from galenic.compression.quantize.run import quantize  # noqa: E402
from galenic.errors import UserError  # noqa: E402
from galenic.exporters.run import export  # noqa: E402
from galenic.models.files import ModelFiles  # noqa: E402
from galenic.models.gguf.dequantize import dequantized_folder  # noqa: E402
from galenic.models.gguf.folder import folder_to_gguf  # noqa: E402
from galenic.models.gguf.header import read_header  # noqa: E402
from galenic.recipes.shapes import open_outline  # noqa: E402
from galenic.registry import PRUNERS, QUANTIZERS  # noqa: E402
from galenic.runtimes import llama_context  # noqa: E402
from galenic.runtimes.llama import LlamaRuntime  # noqa: E402
from galenic.watcher import SilentWatcher  # noqa: E402
from tiny_hf import write_tiny_experts  # noqa: E402

TOKENS = [int(x) for x in np.random.default_rng(0).integers(3, 250, 60)]
FAMILIES = ["mixtral", "qwen3_moe"]


@pytest.fixture(autouse=True)
def exact_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.stem, "gguf", path, f"{hash(str(path)) & 0xFFFFFFFF:064x}")


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def log_probs(model: Any) -> NDArray[np.float32]:
    with torch.no_grad():
        found = torch.log_softmax(model(torch.tensor([TOKENS])).logits[0], -1)
    return np.asarray(found.numpy())


def expected(folder: Path) -> NDArray[np.float32]:
    """Log-probabilities of transformers, by nothing of ours."""
    return log_probs(load(folder))


def in_llama(folder: Path) -> NDArray[np.float32]:
    path = folder.parent / f"{folder.name}.gguf"
    folder_to_gguf(folder, path, "F32")
    with LlamaRuntime(files(path), threads=1) as llama:
        return llama.log_probs(TOKENS)


def pruned(folder: Path, output: Path, method: str, **options: Any) -> Manifest:
    notes = output.parent / "notes.txt"
    lines = [f"The patient number {i} was seen on day {i * i} of the year." for i in range(60)]
    notes.write_text("\n\n".join(lines), encoding="utf-8")
    config = PruneConfig(
        model=str(folder), method=method, text=str(notes), num_samples=2, seq_len=32
    )
    return prune(config, PRUNERS.load(method)(**options), output, SilentWatcher())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_experts_are_exported_and_never_taken_apart(family: str, tmp_path: Path) -> None:
    """llama.cpp has the same map of all experts in one tensor."""
    folder = write_tiny_experts(tmp_path / "m", family)
    path = tmp_path / "m.gguf"
    folder_to_gguf(folder, path, "F32")
    with LlamaRuntime(files(path), threads=1) as llama:
        np.testing.assert_allclose(llama.log_probs(TOKENS), expected(folder), rtol=0, atol=0.01)
    assert "read back" in export(str(folder), "llama.cpp", tmp_path / "out")
    for method in ("wanda", "magnitude", "sparsegpt", "width"):
        with pytest.raises(
            UserError, match=f"{method} does not look into experts, .* Take experts"
        ):
            pruned(folder, tmp_path / "pruned", method, sparsity=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_experts_are_quantized_and_agree_in_both_engines(family: str, tmp_path: Path) -> None:
    folder = write_tiny_experts(tmp_path / "m", family)
    config = QuantizeConfig(model=str(folder))
    with pytest.raises(
        UserError, match=r"only be quantized without calibration. Use --method kquant"
    ):
        notes = tmp_path / "notes.txt"
        notes.write_text("\n\n".join(f"The patient {i} has the flu. " * 9 for i in range(60)))
        calibrated = config.model_copy(update={"text": str(notes)})
        quantize(calibrated, QUANTIZERS.load("gptq")(), tmp_path / "no", SilentWatcher())
    method = QUANTIZERS.load("kquant")(type="Q8_0", importance=False)
    stage = quantize(config, method, tmp_path / "out", SilentWatcher()).stages[-1]
    assert stage.checks["logit_difference"] < stage.checks["tolerance"]
    types = {t.name: t.type for t in read_header(tmp_path / "out" / "model.gguf").tensors}
    assert types["blk.1.ffn_down_exps.weight"] == "Q8_0"
    assert types["blk.1.ffn_gate_inp.weight"] == "F32"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert stage.parameters["after"]["total"] == model.num_parameters()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_gguf_of_experts_is_read_back(family: str, tmp_path: Path) -> None:
    folder = write_tiny_experts(tmp_path / "m", family)
    path = tmp_path / "m.gguf"
    folder_to_gguf(folder, path, "F32")
    back = dequantized_folder(files(path))
    np.testing.assert_allclose(expected(back), expected(folder), rtol=0, atol=1e-4)
    method = QUANTIZERS.load("kquant")(type="Q4_0", importance=False)
    stage = quantize(
        QuantizeConfig(model=str(path)), method, tmp_path / "out", SilentWatcher()
    ).stages[-1]
    assert stage.checks["logit_difference"] < stage.checks["tolerance"]
    with pytest.raises(UserError, match="are experts, for which there are no recipes"):
        open_outline(files(path))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_experts_that_the_text_uses_least_go(family: str, tmp_path: Path) -> None:
    """Against a plain loop over the whole model in transformers; both engines run the result."""
    folder = write_tiny_experts(tmp_path / "m", family)
    pruned(folder, tmp_path / "cut", "experts", sparsity=0.25)
    cut, whole = load(tmp_path / "cut"), load(folder)
    assert cut.config.num_local_experts == 3
    np.testing.assert_allclose(in_llama(tmp_path / "cut"), log_probs(cut), rtol=0, atol=0.01)
    for before, after in zip(whole.model.layers, cut.model.layers, strict=True):
        rows = before.mlp.gate.weight.tolist()
        kept = [rows.index(row) for row in after.mlp.gate.weight.tolist()]
        assert kept == sorted(kept)
        for name in ("gate_up_proj", "down_proj"):
            one, other = getattr(before.mlp.experts, name), getattr(after.mlp.experts, name)
            assert torch.equal(one[kept], other)
        before.kept = kept
    use = _use(whole, tmp_path)
    for layer, counts in zip(whole.model.layers, use, strict=True):
        assert set(layer.kept) == set(range(4)) - {min(range(4), key=counts.__getitem__)}


def _use(model: Any, folder: Path) -> list[list[float]]:
    """By hand: softmax of the router's scores, the two best, their weights to a sum of one."""
    from galenic.compression.blocks.tokens import pack_tokens
    from galenic.data.calibration import read_calibration_text
    from galenic.models.load import resolve_model
    from galenic.models.opened import open_model

    config = PruneConfig(
        model=str(folder / "m"), text=str(folder / "notes.txt"), num_samples=2, seq_len=32
    )
    texts = read_calibration_text(config)
    tokens = pack_tokens(config, texts, open_model(resolve_model(config.model)))
    use = [[0.0] * 4 for _ in model.model.layers]
    for number, layer in enumerate(model.model.layers):

        def count(_module: Any, inputs: Any, number: int = number, layer: Any = layer) -> None:
            states = inputs[0].reshape(-1, inputs[0].shape[-1])
            for row in torch.softmax(states @ layer.mlp.gate.weight.T, -1).tolist():
                best = sorted(range(4), key=row.__getitem__)[-2:]
                for one in best:
                    use[number][one] += row[one] / sum(row[other] for other in best)

        layer.mlp.register_forward_pre_hook(count)
    with torch.no_grad():
        model(torch.tensor(np.asarray(tokens), dtype=torch.int64))
    return use


def test_what_cannot_be_dropped_is_refused(tmp_path: Path) -> None:
    from tiny_hf import write_tiny_hf

    folder = write_tiny_experts(tmp_path / "m", "mixtral")
    notes = tmp_path / "text.txt"
    notes.write_text("\n\n".join(f"The patient {i} has the flu. " * 9 for i in range(60)))
    healed = PruneConfig(model=str(folder), method="depth", text=str(notes), reconstruct=True)
    with pytest.raises(UserError, match="a block of experts has several"):
        prune(
            healed,
            PRUNERS.load("depth")(sparsity=0.5, protect_last=0),
            tmp_path / "no",
            SilentWatcher(),
        )
    with pytest.raises(UserError, match=r"leaves 1 of 4 experts, and each token is routed to 2"):
        pruned(folder, tmp_path / "no", "experts", sparsity=0.7)
    with pytest.raises(UserError, match="a llama model has no experts"):
        pruned(write_tiny_hf(tmp_path / "l", "llama"), tmp_path / "no", "experts")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_go_and_adapters_are_merged(family: str, tmp_path: Path) -> None:
    folder = write_tiny_experts(tmp_path / "m", family)
    pruned(folder, tmp_path / "cut", "depth", sparsity=0.5, metric="influence", protect_last=0)
    cut = load(tmp_path / "cut")
    assert len(cut.model.layers) == 1
    np.testing.assert_allclose(in_llama(tmp_path / "cut"), log_probs(cut), rtol=0, atol=0.01)
    rows = (
        {"id": str(i), "question": f"Is {i} even?", "options": {"A": "yes", "B": "no"}}
        | {"answer": "AB"[i % 2]}
        for i in range(24)
    )
    train = tmp_path / "train.jsonl"
    train.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    settings = {"max_steps": 2, "batch_size": 2, "max_length": 64, "num_heldout": 4}
    finetune(str(folder), str(train), tmp_path / "a", rank=2, against="none", **settings)
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_bytes())
    assert {name.split(".")[-1] for name in config["target_modules"]} == {
        "q_proj", "k_proj", "v_proj", "o_proj",
    }  # fmt: skip
    merge(str(folder), tmp_path / "a", tmp_path / "merged")
    import peft

    from galenic.training.finetune.lora import quiet_peft

    with quiet_peft():
        both = peft.PeftModel.from_pretrained(load(folder), str(tmp_path / "a"))
    wanted = log_probs(both)
    np.testing.assert_allclose(expected(tmp_path / "merged"), wanted, rtol=0, atol=1e-3)
