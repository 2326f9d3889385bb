"""A folder written block by block is what plain transformers would load and compute."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.models.checkpoint import open_checkpoint
from galenic.models.files import ModelFiles
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

from galenic.models.save import FolderWriter  # noqa: E402
from galenic.models.stream import Stream, open_stream  # noqa: E402


def stream_of(folder: Path) -> Stream:
    return open_stream(open_checkpoint(ModelFiles("m", "folder", folder, "")))


def rewrite(stream: Stream, folder: Path) -> None:
    folder.mkdir()
    checkpoint = stream.checkpoint
    config = stream.layout.model.config
    with FolderWriter(folder, config, checkpoint.folder, checkpoint.dtype) as writer:
        writer.write_outer(stream.layout)
        for index in range(len(stream.layout.blocks)):
            with stream.block(index) as block:
                writer.write_block(block)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [pytest.param("float32", marks=pytest.mark.slow), "bfloat16"])
def test_transformers_loads_the_same_model(tmp_path: Path, family: str, kind: str) -> None:
    source = write_tiny_hf(tmp_path / "m", family)
    dtype = getattr(torch, kind)
    load = transformers.AutoModelForCausalLM.from_pretrained
    load(source, dtype=dtype).save_pretrained(source, max_shard_size="60KB")  # many shards
    if len(list(source.glob("model-*.safetensors"))) > 1:
        (source / "model.safetensors").unlink(missing_ok=True)
    rewrite(stream_of(source), tmp_path / "out")
    model, info = load(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    assert model.dtype == dtype
    tokens = torch.arange(5, 45)[None]
    with torch.no_grad():
        # loaded anew: in half precision transformers rounds the scale of Gemma's embedding as well
        found = load(tmp_path / "out", dtype=torch.float32).eval()(tokens).logits
        expected = load(source, dtype=torch.float32).eval()(tokens).logits
    torch.testing.assert_close(found, expected)


def test_what_is_missing_bent_or_out_of_order(tmp_path: Path) -> None:
    stream = stream_of(write_tiny_hf(tmp_path / "m", "llama"))
    config, source = stream.layout.model.config, tmp_path / "m"
    (tmp_path / "out").mkdir()

    def writer() -> FolderWriter:
        return FolderWriter(tmp_path / "out", config, source, torch.float32)

    with pytest.raises(ValueError, match="were not written"), writer() as one:
        one.write_outer(stream.layout)
    with pytest.raises(ValueError, match="shape"), writer() as one:
        one.write("model.norm.weight", torch.zeros(3))
    with pytest.raises(ValueError, match="is not a tensor"), writer() as one:
        one.write("model.norm.bias", torch.zeros(48))
    with pytest.raises(ValueError, match="in front"), stream.block(1) as block, writer() as one:
        one.write_block(block)
