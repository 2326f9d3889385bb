"""``quantize`` as a stage: every family, every number of bits, checks that cannot be skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from galenic.artifact.manifest import Manifest, read_manifest, write_manifest
from galenic.compression.quantize.config import QuantizeConfig
from galenic.compression.quantize.kquant import BLOCK_TYPES
from galenic.errors import UserError
from galenic.models.gguf.header import read_header
from galenic.models.load import resolve_model
from galenic.registry import QUANTIZERS
from params import one_fast
from tiny import write_tiny_gguf
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")


class Silent:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("the patient of the question and the answer yes no maybe " * 100)
    return path


def run(model: Path, output: Path, notes: Path, watcher: Any = None, **options: Any) -> Manifest:
    from galenic.compression.quantize.run import quantize

    config = QuantizeConfig(model=str(model), text=str(notes), num_samples=4, seq_len=32)
    return quantize(config, QUANTIZERS.load("kquant")(**options), output, watcher or Silent())


@pytest.mark.parametrize("family", one_fast(FAMILIES))
def test_every_family_is_written_and_runs_in_both_engines(
    tmp_path: Path, notes: Path, family: str
) -> None:
    model = write_tiny_hf(tmp_path / "m", family)
    manifest = run(model, tmp_path / "out", notes, target_bpw=15.5)  # most rows of 48 take F16
    stage = manifest.stages[-1]
    assert stage.checks["logit_difference"] < stage.checks["tolerance"]
    assert stage.sizes["after"] < stage.sizes["before"]
    header = read_header(tmp_path / "out" / "model.gguf")
    assert sum(t.num_bytes for t in header.tensors) == stage.checks["tensor_bytes"]
    assert stage.checks["tensor_bytes"] <= stage.checks["promised_bytes"]
    assert read_manifest(tmp_path / "out") == manifest


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_number_of_bits(tmp_path: Path, notes: Path, bits: int) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    run(model, tmp_path / "out", notes, bits=bits, importance=False)
    types = {t.type for t in read_header(tmp_path / "out" / "model.gguf").tensors} - {"F32"}
    expected = {5: {"Q5_0"}, 6: {"Q5_1"}, 7: {"Q5_1"}, 8: {"Q8_0"}}  # rows of 32 take no Q_K
    assert types <= expected.get(bits, {"Q4_0", "IQ4_NL"})


@pytest.mark.slow
def test_a_target_size_is_kept_and_the_same_seed_gives_the_same_bytes(
    tmp_path: Path, notes: Path
) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    size = model.stat().st_size // 4
    for name in ("a", "b"):
        run(model, tmp_path / name, notes, target_size=f"{size}B", exclude="Q4_1")
    files = [(tmp_path / name / "model.gguf").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
    assert 0.9 * size < len(files[0]) <= size
    types = {t.type for t in read_header(tmp_path / "a" / "model.gguf").tensors}
    assert "Q4_1" not in types


def test_an_excluded_type_does_not_come_in_as_a_stand_in(tmp_path: Path, notes: Path) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")  # Q5_K does not divide its rows: Q5_1 would do
    run(model, tmp_path / "out", notes, bits=6, importance=False, exclude="Q5_1")
    types = {t.type for t in read_header(tmp_path / "out" / "model.gguf").tensors}
    assert types == {"F32", "Q5_0"}


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"method": "gptq", "type": "IQ4_NL", "head_type": "Q8_0"}, 0),  # asked for: no stand-in
        ({"method": "kquant", "type": "IQ4_NL", "importance": False}, 0),
        ({"method": "kquant", "type": "Q5_K", "importance": False}, 15),
        ({"method": "kquant", "type": "Q5_K", "importance": False, "tensor_type": "blk=Q4_0"}, 1),
    ],
)
def test_only_stand_ins_are_noted(tmp_path: Path, options: dict[str, Any], count: int) -> None:
    from galenic.compression.quantize.job import QuantizeJob

    model = write_tiny_gguf(tmp_path / "m.gguf")  # 2 blocks of 7 matrices, and the embedding
    job = QuantizeJob(QuantizeConfig(model=str(model)), resolve_model(str(model)), (), Silent())
    quantizer = QUANTIZERS.load(options.pop("method"))(**options)
    noted = [note for note in quantizer.notes(job) if "does not divide" in note]
    expected = f"{count} tensors have rows that Q5_K does not divide: Q5_1"
    assert noted == ([expected] if count else [])


@pytest.mark.slow
def test_rules_give_single_tensors_a_type_of_their_own(tmp_path: Path, notes: Path) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    rules = r"blk\.1\.ffn=q8_0, token_embd=Q5_0, blk\.1=Q4_1"
    for name, options in (
        ("typed", {"type": "Q4_0"}),
        ("bits", {"bits": 4, "exclude": "IQ4_NL"}),
        ("mixed", {"target_bpw": 7.0, "exclude": "Q8_0,Q4_1,Q5_0"}),
    ):
        run(model, tmp_path / name, notes, tensor_type=rules, **options)
        for tensor in read_header(tmp_path / name / "model.gguf").tensors:
            if "norm" in tensor.name:
                assert tensor.type == "F32"
            elif tensor.name.startswith("blk.1.ffn"):
                assert tensor.type == "Q8_0"
            elif tensor.name.startswith("token_embd"):
                assert tensor.type == "Q5_0"
            elif tensor.name.startswith("blk.1"):
                assert tensor.type == "Q4_1"
            else:
                assert tensor.type in {"Q4_0", "IQ4_NL", "Q5_1"}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("Q8_0", "not of the form"),
        ("ffn(=Q8_0", "not a regular expression"),
        ("ffn=Q9", "Q9"),
        ("nothing=Q8_0", "fits no matrix"),
    ],
)
def test_a_wrong_rule_is_an_error_before_anything_is_written(
    tmp_path: Path, notes: Path, rule: str, said: str
) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    with pytest.raises((UserError, ValidationError), match=said):
        run(model, tmp_path / "out", notes, tensor_type=rule)
    assert not (tmp_path / "out").exists()


def test_a_quantized_parent_is_named(tmp_path: Path, notes: Path) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    run(model, tmp_path / "a", notes, type="Q8_0", importance=False)
    again = run(tmp_path / "a", tmp_path / "b", notes, bits=4, importance=False)
    assert again.stages[-1].notes == ("dense (dequantized from Q8_0)",)
    assert [stage.stage for stage in again.stages] == ["quantize", "quantize"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["IQ2_XS", "IQ3_S", "IQ4_XS"])
def test_iq_types_run_in_both_engines(tmp_path: Path, notes: Path, kind: str) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama", hidden_size=256)
    stage = run(model, tmp_path / "out", notes, type=kind).stages[-1]
    assert stage.checks["logit_difference"] < stage.checks["tolerance"]
    types = {t.type for t in read_header(tmp_path / "out" / "model.gguf").tensors}
    assert types == {kind, "F32"}
    with pytest.raises(UserError, match="IQ2_XS needs an importance"):
        run(model, tmp_path / "no", notes, type="IQ2_XS", importance=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "top_blocks", "said"),
    [
        ({"bits": 4}, 1, r"keep its blocks finer (--tensor-type 'blk\.(2)\.=Q8_0') and evaluate"),
        ({"bits": 4}, 2, r"(--tensor-type 'blk\.(1|2)\.=Q8_0')"),
        ({"bits": 4}, None, "what the adapter of this model has learnt: evaluate it again"),
        ({"bits": 4, "tensor_type": r"blk\.(2)\.=Q8_0"}, 1, None),
        ({"type": "Q8_0"}, 1, None),
    ],
)
def test_what_an_adapter_has_learnt_may_be_lost(
    tmp_path: Path, notes: Path, options: dict[str, Any], top_blocks: int | None, said: str | None
) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama", hidden_size=64)
    quantized = run(model, tmp_path / "q", notes, bits=4, importance=False)
    stage = quantized.stages[-1].model_copy(
        update={"stage": "finetune", "method": "lora", "options": {"top_blocks": top_blocks}}
    )
    write_manifest(model, [stage])
    watcher = Silent()
    run(model, tmp_path / "out", notes, watcher, importance=False, **options)
    *warnings, leads = watcher.said
    assert "between the two likeliest next tokens" in leads
    if said is None:
        assert not warnings
    else:
        assert said in warnings[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "Q9_9"}, "unknown block type"),
        ({"bits": 4, "target_bpw": 5}, "contradict"),
        ({"target_bpw": 1.0}, "smallest types take"),
        ({"target_size": "9 parsecs"}, "is not a size"),
        ({"exclude": ",".join(BLOCK_TYPES)}, "leaves no type"),
        ({"target_bpw": 16.0, "type": "Q8_0"}, "contradict"),
    ],
)
def test_mistakes_end_before_slow_work(
    tmp_path: Path, notes: Path, options: dict[str, Any], message: str
) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    with pytest.raises((UserError, ValueError), match=message):
        run(model, tmp_path / "out", notes, **options)
    assert {path.name for path in tmp_path.iterdir()} == {"m.gguf", "notes.txt"}


def test_a_damaged_result_leaves_nothing(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galenic.compression.quantize import kquant

    def swap(source: Any, target: Path, types: Any, **others: Any) -> None:
        from dataclasses import replace

        tensors = [
            replace(t, read=lambda a, b, t=t: -t.read(a, b)) if "ffn_up" in t.name else t
            for t in source.tensors
        ]
        write(replace(source, tensors=tuple(tensors)), target, types, **others)

    write = kquant.quantize_gguf
    monkeypatch.setattr(kquant, "quantize_gguf", swap)
    model = write_tiny_gguf(tmp_path / "m.gguf")
    with pytest.raises(UserError, match="ffn_up"):
        run(model, tmp_path / "out", notes, importance=False)
    assert {path.name for path in tmp_path.iterdir()} == {"m.gguf", "notes.txt"}


def test_sensitivity_against_autograd_on_the_whole_model(tmp_path: Path) -> None:
    """Mean squares of inputs and of output gradients, by hooks on plain transformers."""
    import transformers

    from galenic.compression.quantize.importance import measure_sensitivity
    from galenic.models.checkpoint import open_checkpoint
    from galenic.models.gguf.folder import folder_source
    from galenic.models.load import resolve_model
    from galenic.models.paged import PagedModel

    folder = write_tiny_hf(tmp_path / "m", "llama")
    checkpoint = open_checkpoint(resolve_model(str(folder)))
    source = folder_source(folder)
    paged = PagedModel(checkpoint, source)
    tokens = torch.randint(200, (2, 12), generator=torch.Generator().manual_seed(1))
    found = measure_sensitivity(paged, tokens, tmp_path, lambda _: None, gradients=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    assert torch.allclose(paged.logits(tokens), model(tokens).logits, atol=1e-4)
    inputs, gradients = [], []
    layer = model.model.layers[1].self_attn.q_proj

    def keep(_: Any, args: Any, output: Any) -> None:
        inputs.append(args[0].detach().double())
        output.register_hook(lambda g: gradients.append(g.double()))

    layer.register_forward_hook(keep)
    generator = torch.Generator().manual_seed(0)
    for sample in tokens.split(1):
        logits = model(sample).logits[0]
        labels = torch.multinomial(torch.softmax(logits.detach(), -1), 1, generator=generator)
        torch.nn.functional.cross_entropy(logits, labels[:, 0], reduction="sum").backward()
    name = "blk.1.attn_q.weight"
    columns = torch.cat(inputs).square().mean(dim=(0, 1)).numpy()
    np.testing.assert_allclose(found.columns[name], columns, rtol=1e-4)
    rows = torch.cat(gradients).square().mean(dim=(0, 1))
    rows = rows.reshape(4, 2, -1).transpose(1, 2).reshape(-1)  # rotary pairs side by side
    np.testing.assert_allclose(found.rows[name], rows.numpy(), rtol=1e-3)
    assert not list(tmp_path.glob("hidden-*"))
    assert {tensor.name for tensor in source.tensors} >= set(found.columns)


def test_texts_that_others_read_otherwise_are_noted(tmp_path: Path, notes: Path) -> None:
    folder = write_tiny_hf(tmp_path / "tiny", "llama", hidden_size=256)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"normalizer": {"type": "NFC"}}))
    made = run(folder, tmp_path / "out", notes, bits=8, importance=False)
    assert any(
        note.endswith("other programs built on llama.cpp: decomposed accents")
        for note in made.stages[-1].notes
    )
