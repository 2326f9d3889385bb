"""Importance files: llama.cpp's layout, written by hand and by us, and what is made with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from galenic.errors import UserError
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.quantize.block_types import KQuant  # noqa: E402
from galenic.compression.quantize.config import QuantizeConfig  # noqa: E402
from galenic.compression.quantize.imatrix import read_imatrix, write_imatrix  # noqa: E402
from galenic.compression.quantize.run import quantize  # noqa: E402
from galenic.models.gguf.write import GgufSource, SourceTensor  # noqa: E402


class Quiet:
    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...
    def advance(self, done: int, note: str = "") -> None: ...
    def say(self, text: str) -> None: ...


def source(columns: int = 8) -> GgufSource:
    shape = (4, columns)
    names = ("blk.0.attn_q.weight", "blk.0.attn_v.weight")
    tensors = (SourceTensor(n, shape, lambda a, b: np.zeros((b - a, columns))) for n in names)
    return GgufSource("some model", "llama", lambda _: None, tuple(tensors))


def by_hand(path: Path, kind: str = "imatrix", *, count: float = 10.0) -> Path:
    """As llama.cpp's tools/imatrix writes it: sums [columns, 1], counts [1, 1], float32."""
    writer = GGUFWriter(path, "")
    writer.add_type(kind)
    writer.add_array("imatrix.datasets", ["text.txt"])
    writer.add_uint32("imatrix.chunk_count", 5)
    writer.add_uint32("imatrix.chunk_size", 2)
    for name in ("blk.0.attn_q.weight", "output.weight"):
        writer.add_tensor(f"{name}.in_sum2", np.arange(8, dtype=np.float32)[None])
        writer.add_tensor(f"{name}.counts", np.array([[count]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_sums_over_counts(tmp_path: Path) -> None:
    found = read_imatrix(by_hand(tmp_path / "i.gguf"), source())
    assert list(found) == ["blk.0.attn_q.weight"]
    np.testing.assert_allclose(found["blk.0.attn_q.weight"], np.arange(8) / 10)


def test_written_in_the_same_layout(tmp_path: Path) -> None:
    means = {"blk.0.attn_q.weight": np.arange(8, dtype=np.float32) / 10}
    write_imatrix(tmp_path / "ours", means, sources=["text.txt"], chunks=5, chunk_size=2)
    ours: Any = GGUFReader(tmp_path / "ours")
    theirs: Any = GGUFReader(by_hand(tmp_path / "theirs"))
    for name in ("type", "datasets", "chunk_count", "chunk_size"):
        key = "general.type" if name == "type" else f"imatrix.{name}"
        assert ours.fields[key].contents() == theirs.fields[key].contents()
    for one, other in zip(ours.tensors, theirs.tensors, strict=False):
        assert (one.name, list(one.shape), one.tensor_type) == (
            other.name, list(other.shape), other.tensor_type,
        )  # fmt: skip
        np.testing.assert_allclose(one.data, other.data, rtol=1e-6)
    found = read_imatrix(tmp_path / "ours", source())
    np.testing.assert_allclose(found["blk.0.attn_q.weight"], means["blk.0.attn_q.weight"])


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a llama\.cpp importance file"):
        read_imatrix(by_hand(tmp_path / "model.gguf", "adapter"), source())
    right = by_hand(tmp_path / "right.gguf")
    with pytest.raises(UserError, match="has 8 sums; the model has 16"):
        read_imatrix(right, source(16))
    with pytest.raises(UserError, match="no importance for any matrix of some model"):
        read_imatrix(by_hand(tmp_path / "empty.gguf", count=0.0), source())
    for options, said in (
        ({"imatrix": str(right), "importance": False}, "contradict each other"),
        ({"imatrix": str(right), "target_bpw": 4.5}, "a mix needs gradients"),
        ({"imatrix": str(tmp_path / "none")}, "there is no file"),
        ({"save_imatrix": str(tmp_path / "n"), "imatrix": str(right)}, "that is measured here"),
    ):
        with pytest.raises(UserError, match=said):
            KQuant(**options)


@pytest.mark.slow
def test_what_was_saved_makes_the_same_model(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    text = tmp_path / "text.txt"
    text.write_text("the patient of the question and the answer yes no maybe " * 100)
    saved = tmp_path / "saved.gguf"
    config = QuantizeConfig(model=str(model), text=str(text), num_samples=4, seq_len=32)
    quantize(config, KQuant(type="Q4_0", save_imatrix=str(saved)), tmp_path / "a", Quiet())
    with pytest.raises(UserError, match="is there already"):
        quantize(config, KQuant(type="Q4_0", save_imatrix=str(saved)), tmp_path / "c", Quiet())
    bare = QuantizeConfig(model=str(model))
    quantize(bare, KQuant(type="Q4_0", imatrix=str(saved)), tmp_path / "b", Quiet())
    one, other = (GGUFReader(tmp_path / name / "model.gguf").tensors for name in "ab")
    for first, second in zip(one, other, strict=True):
        # sums are rounded once, so that a weight between two levels may go the other way
        assert (np.asarray(first.data) != np.asarray(second.data)).mean() < 0.01
