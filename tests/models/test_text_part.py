"""The text model taken out of one that reads images is the one that transformers computes with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.gguf.header import check_gguf
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.models.text_part import text_part
from tiny_hf import write_tiny_tokenizer

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
INNER = {
    "gemma3": "gemma3_text",
    "llava": "llama",
    "gemma2 in llava": "gemma2",
    "granite in llava": "granite",
}


def write_seeing(folder: Path, kind: str) -> Path:
    """A tiny random model that reads images and text."""
    folder.mkdir()
    words = len(write_tiny_tokenizer(folder))
    text = {
        "vocab_size": words,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "initializer_range": 0.3,
        "max_position_embeddings": 512,
        "bos_token_id": words - 3,
        "eos_token_id": words - 1,
        "pad_token_id": words - 4,
    }
    torch.manual_seed(0)
    if kind == "gemma3":
        layers = ["sliding_attention", "full_attention", "sliding_attention"]
        text |= {"query_pre_attn_scalar": 16, "sliding_window": 16, "layer_types": layers}
        config = transformers.Gemma3Config(
            text_config=text, vision_config=VISION, mm_tokens_per_image=1
        )
        model = transformers.Gemma3ForConditionalGeneration(config)
    else:
        within = INNER.get(kind, "llama")
        text |= {"logits_scaling": 3.0} if within == "granite" else {}
        config = transformers.LlavaConfig(
            text_config=transformers.AutoConfig.for_model(within, **text),
            vision_config=transformers.CLIPVisionConfig(**VISION),
            image_token_index=words - 1,
            tie_word_embeddings=False,
        )
        model = transformers.LlavaForConditionalGeneration(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([[5, 71, 104, 9, 33, 250, 12]])).logits


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gemma3", "llava", "gemma2 in llava", "granite in llava"])
def test_it_computes_what_the_whole_model_does_with_text(kind: str, tmp_path: Path) -> None:
    folder = write_seeing(tmp_path / "whole", kind)
    files = resolve_model(str(folder))
    part = text_part(files)
    assert (part.name, part.sha256) == (files.name, files.sha256)
    whole = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    alone = transformers.AutoModelForCausalLM.from_pretrained(part.path, dtype=torch.float32)
    assert alone.config.model_type == INNER[kind]
    assert open_model(files).shapes.family == INNER[kind]
    torch.testing.assert_close(logits(alone), logits(whole), rtol=0, atol=1e-5)
    assert json.loads((part.path / "config.json").read_bytes())["dtype"] == "bfloat16"
    assert text_part(part) == part
    assert text_part(files) == part


@pytest.mark.slow
def test_names_of_other_versions(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_seeing(tmp_path / "whole", "gemma3")
    expected = open_model(resolve_model(str(folder)))
    weights = load_file(folder / "model.safetensors")
    before, after = "language_model.model.", "model.language_model."
    assert any(name.startswith(before) for name in weights)
    renamed = {name.replace(before, after): tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    found = open_model(resolve_model(str(folder)))
    assert found.files.sha256 != expected.files.sha256  # so it was taken out anew
    assert list(found.tensors) == list(expected.tensors)
    for name, tensor in found.tensors.items():
        assert (tensor.map() == expected.tensors[name].map()).all()


def test_a_lost_weight_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path / "cache"))
    folder = write_seeing(tmp_path / "whole", "gemma3")
    weights = load_file(folder / "model.safetensors")
    del weights["language_model.model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"whole lacks the tensor language_model\.model\.layers\.1"):
        text_part(resolve_model(str(folder)))
    assert not [path for path in (tmp_path / "cache/text-parts").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_it_is_pruned_and_quantized_like_any_other(tmp_path: Path) -> None:
    from galenic.compression.prune.config import PruneConfig
    from galenic.compression.prune.run import prune
    from galenic.compression.quantize.config import QuantizeConfig
    from galenic.compression.quantize.run import quantize
    from galenic.registry import PRUNERS, QUANTIZERS
    from watching import Notes

    folder = write_seeing(tmp_path / "whole", "gemma3")
    pruner = PRUNERS.load("magnitude")()
    manifest = prune(PruneConfig(model=str(folder)), pruner, tmp_path / "sparse", Notes())
    assert manifest.stages[0].parent.sha256 == resolve_model(str(folder)).sha256
    quantizer = QUANTIZERS.load("kquant")(type="Q8_0", importance=False)
    quantize(QuantizeConfig(model=str(folder)), quantizer, tmp_path / "q8", Notes())
    (file,) = (tmp_path / "q8").glob("*.gguf")
    assert check_gguf(file).metadata["general.architecture"] == "gemma3"


def test_an_unknown_decoder_stays_where_it_is(tmp_path: Path) -> None:
    folder = write_seeing(tmp_path / "whole", "gemma3")
    config = json.loads((folder / "config.json").read_bytes())
    config["model_type"] = "llava"
    config["text_config"]["model_type"] = "gemma"
    del config["text_config"]["rope_parameters"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    files = resolve_model(str(folder))
    assert text_part(files) is files
    with pytest.raises(UserError, match="unknown architecture"):
        open_model(files)
