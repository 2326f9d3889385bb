"""Packed models: every byte comes back, sparse ones are small, damage is an error."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.artifact import pack as packing
from galenic.artifact.pack import pack, unpack
from galenic.errors import UserError
from tiny import write_tiny_gguf


class Silent:
    """Remembers the bytes it was told of."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.total = 0

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        self.total = total or 0
        self.done = []

    def advance(self, done: int, note: str = "") -> None:
        self.done.append(done)


def test_a_gguf_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    watcher = Silent()
    packed = pack(str(model), tmp_path / "m.galenic", watcher)
    assert packed.num_bytes == model.stat().st_size == watcher.total == watcher.done[-1]
    assert packed.packed_bytes == (tmp_path / "m.galenic").stat().st_size
    unpack(tmp_path / "m.galenic", tmp_path / "back.gguf", watcher)
    assert (tmp_path / "back.gguf").read_bytes() == model.read_bytes()
    pack(str(model), tmp_path / "again.galenic", watcher)
    assert (tmp_path / "again.galenic").read_bytes() == (tmp_path / "m.galenic").read_bytes()


@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
def test_a_folder_comes_back_bit_for_bit(
    tmp_path: Path, zeros: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    from safetensors.torch import load_file, save_file

    from tiny_hf import write_tiny_hf

    monkeypatch.setattr(packing, "PIECE", 1000)  # tensors are cut
    model = write_tiny_hf(tmp_path / "m", "llama")
    generator = np.random.default_rng(0)
    tensors = load_file(model / "model.safetensors")
    for tensor in tensors.values():
        gone = torch.from_numpy(generator.random(tuple(tensor.shape)) < zeros)
        tensor[gone] = 0.0
        tensor.view(-1)[:3] = torch.tensor([-0.0, 3.4e38, 1e-40])  # keep their bits
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    (model / "notes").mkdir()
    (model / "notes" / "empty.txt").touch()
    pack(str(model), tmp_path / "m.galenic", Silent())
    unpack(tmp_path / "m.galenic", tmp_path / "back", Silent())
    names = {p.relative_to(model) for p in model.rglob("*") if p.is_file()}
    assert {p.relative_to(tmp_path / "back") for p in (tmp_path / "back").rglob("*.*")} == names
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == (model / name).read_bytes()


def test_a_folder_of_links_is_packed_whole(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from tiny_hf import write_tiny_hf

    model = write_tiny_hf(tmp_path / "m", "llama")
    (tmp_path / "links").mkdir()
    for file in model.iterdir():  # as the Hub's cache has them
        (tmp_path / "links" / file.name).symlink_to(file)
    pack(str(tmp_path / "links"), tmp_path / "m.galenic", Silent())
    unpack(tmp_path / "m.galenic", tmp_path / "back", Silent())
    for file in model.iterdir():
        assert (tmp_path / "back" / file.name).read_bytes() == file.read_bytes()


def test_zeros_cost_about_a_bit_each() -> None:
    generator = np.random.default_rng(1)
    values = generator.standard_normal(100_000).astype("<f4")
    values[generator.random(len(values)) < 0.75] = 0
    coded = packing._encode(values.tobytes(), 4, sparse=True)
    assert len(coded) < 100_000 / 8 + 25_000 * 4
    row: dict[str, Any] = {"size": 400_000, "record": 4, "sparse": True}
    assert packing._decode(coded, row) == values.tobytes()


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    pack(str(write_tiny_gguf(tmp_path / "m.gguf")), tmp_path / "m.galenic", Silent())
    return tmp_path / "m.galenic"


def test_cut_short_anywhere(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        packed.write_bytes(whole[:size])
        with pytest.raises(UserError, match="cut short"):
            unpack(packed, tmp_path / "out.gguf", Silent())
    assert not (tmp_path / "out.gguf").exists()
    assert not list(tmp_path.glob(".out*"))


def test_one_changed_byte(packed: Path, tmp_path: Path) -> None:
    whole = bytearray(packed.read_bytes())
    whole[len(whole) // 3] ^= 1
    packed.write_bytes(whole)
    with pytest.raises(UserError, match="damaged"):
        unpack(packed, tmp_path / "out.gguf", Silent())
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has the format 2"),
        ({"files": {"../evil": {"size": 0, "sha256": "", "parts": []}}}, "outside its own folder"),
        ({"files": {"a": {"size": 5, "sha256": "", "parts": []}}}, "not whole"),
        ({"files": 3}, "no packed model"),
        ({"files": {}}, "no packed model"),
        ({"folder": None}, "no packed model"),
        ({"files": {"a": {"size": 0, "parts": []}}}, "no packed model"),
        (
            {"files": {"a": {"size": 9, "sha256": "", "parts": [
                {"start": 0, "size": 9, "record": 4, "floating": True, "sparse": False}]}}},
            "does not fit",
        ),
    ],
)  # fmt: skip
def test_a_list_that_lies(
    packed: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with zipfile.ZipFile(packed) as archive:
        index = json.loads(archive.read("index.json"))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.json", json.dumps(index | change))
    with pytest.raises(UserError, match=message):
        unpack(packed, tmp_path / "out.gguf", Silent())


def test_other_mistakes(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for source, target, message in (
        (packed, tmp_path / "there", "exists"),
        (tmp_path / "nothing", tmp_path / "out", "is not a file"),
        (tmp_path / "m.gguf", tmp_path / "out", "no packed model"),
    ):
        with pytest.raises(UserError, match=message):
            unpack(source, target, Silent())
    with pytest.raises(UserError, match=r"ends in \.galenic"):
        pack(str(tmp_path / "m.gguf"), tmp_path / "x.zip", Silent())
    with pytest.raises(UserError, match="exists"):
        pack(str(tmp_path / "m.gguf"), packed, Silent())
