"""A model split over several GGUFs, as llama-gguf-split and the gguf package name them."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

import tiny
from galenic.artifact.pack import pack, unpack
from galenic.errors import UserError
from galenic.exporters.run import export
from galenic.models.adapter import LowRank, write_adapter
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.header import check_gguf, read_metadata
from galenic.models.load import resolve_model
from galenic.models.size import inspect_model
from galenic.runtimes.llama import LlamaRuntime
from galenic.watcher import SilentWatcher

FIRST, SECOND, THIRD = (f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``whole.gguf``, and the same model in three parts."""
    path = tmp_path_factory.mktemp("split")
    tiny.write_tiny_gguf(path / "whole.gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf, "GGUFWriter", functools.partial(gguf.GGUFWriter, split_max_tensors=7))
        tiny.write_tiny_gguf(path / "m.gguf")
    assert sorted(one.name for one in path.iterdir()) == [FIRST, SECOND, THIRD, "whole.gguf"]
    return path


def copy_of(folder: Path, target: Path, *names: str) -> Path:
    target.mkdir()
    for name in names:
        shutil.copy(folder / name, target / name)
    return target


def test_the_parts_are_read_as_one_model(folder: Path) -> None:
    whole, split = folder / "whole.gguf", folder / FIRST
    expected = {t.name: (t.shape, t.type) for t in check_gguf(whole).tensors}
    assert {t.name: (t.shape, t.type) for t in check_gguf(split).tensors} == expected
    values = {t.name: t.read(0, t.shape[0]) for t in gguf_source(whole).tensors}
    for tensor in gguf_source(split).tensors:
        np.testing.assert_array_equal(tensor.read(0, tensor.shape[0]), values[tensor.name])
    size = inspect_model(resolve_model(str(split)))
    assert size.parameters == inspect_model(resolve_model(str(whole))).parameters
    assert size.file_bytes == sum((folder / n).stat().st_size for n in (FIRST, SECOND, THIRD))


def test_both_engines_compute_with_it(folder: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from galenic.runtimes.torch import TorchRuntime

    tokens = list(range(5, 30))
    with LlamaRuntime(resolve_model(str(folder / "whole.gguf")), threads=1) as runtime:
        expected = runtime.log_probs(tokens)
    model = resolve_model(str(folder / FIRST))
    with LlamaRuntime(model, threads=1) as runtime:
        np.testing.assert_array_equal(runtime.log_probs(tokens), expected)
    with TorchRuntime(model, threads=1) as torch:
        np.testing.assert_allclose(torch.log_probs(tokens), expected, rtol=0, atol=0.05)


def test_an_export_is_one_file(folder: Path, tmp_path: Path) -> None:
    export(str(folder / FIRST), "llama.cpp", tmp_path / "out")
    joined, whole = tmp_path / "out" / "model.gguf", folder / "whole.gguf"
    assert read_metadata(joined) == read_metadata(whole)
    values = {t.name: t.read(0, t.shape[0]) for t in gguf_source(whole).tensors}
    for tensor in gguf_source(joined).tensors:
        np.testing.assert_array_equal(tensor.read(0, tensor.shape[0]), values.pop(tensor.name))
    assert not values


def test_the_model_has_one_name_whichever_part_is_given(folder: Path, tmp_path: Path) -> None:
    alone = copy_of(folder, tmp_path / "m", FIRST, SECOND, THIRD)
    by_first, by_last, by_folder = (
        resolve_model(str(path)) for path in (alone / FIRST, alone / THIRD, alone)
    )
    assert by_first.path == by_last.path == by_folder.path == alone / FIRST
    assert by_first.sha256 == by_last.sha256 == by_folder.sha256
    other = copy_of(folder, tmp_path / "o", FIRST, SECOND, THIRD)
    data = bytearray((other / THIRD).read_bytes())
    data[-1] ^= 1
    (other / THIRD).write_bytes(data)
    assert resolve_model(str(other)).sha256 != by_first.sha256


def test_parts_that_do_not_make_a_model_are_refused(folder: Path, tmp_path: Path) -> None:
    lacking = copy_of(folder, tmp_path / "lacking", FIRST, THIRD)
    with pytest.raises(UserError, match=f"lacks 1 of 3 parts .*{SECOND}"):
        resolve_model(str(lacking / FIRST))
    twice = copy_of(folder, tmp_path / "twice", FIRST, THIRD)
    shutil.copy(folder / THIRD, twice / SECOND)
    with pytest.raises(UserError, match=f"{SECOND} is not part 2"):
        resolve_model(str(twice / FIRST))
    renamed = copy_of(folder, tmp_path / "renamed", FIRST)
    (renamed / FIRST).rename(renamed / "m.gguf")
    with pytest.raises(UserError, match=r"one of 3 parts .* not named so"):
        resolve_model(str(renamed / "m.gguf"))
    truncated = copy_of(folder, tmp_path / "short", FIRST, SECOND, THIRD)
    (truncated / THIRD).write_bytes((folder / THIRD).read_bytes()[:-64])
    with pytest.raises(UserError, match=f"{THIRD} is truncated"):
        resolve_model(str(truncated))


def test_an_adapter_may_change_a_matrix_of_any_part(folder: Path, tmp_path: Path) -> None:
    last = [t for t in check_gguf(folder / FIRST).tensors if t.name.endswith("ffn_down.weight")][-1]
    assert last.file == folder / THIRD
    columns, rows = last.shape
    update = LowRank(np.ones((rows, 2), np.float32), np.ones((2, columns), np.float32), 0.5)
    name = f"model.layers.{last.name.split('.')[1]}.mlp.down_proj.weight"
    for base in ("whole.gguf", FIRST):
        write_adapter(tmp_path / f"of-{base}", folder / base, {name: update})
    assert (tmp_path / f"of-{FIRST}").read_bytes() == (tmp_path / "of-whole.gguf").read_bytes()


def test_all_parts_are_packed(folder: Path, tmp_path: Path) -> None:
    alone = copy_of(folder, tmp_path / "m", FIRST, SECOND, THIRD)
    pack(str(alone / SECOND), tmp_path / "m.galenic", SilentWatcher())
    unpacked = unpack(tmp_path / "m.galenic", tmp_path / "back", SilentWatcher())
    assert sorted(path.name for path in unpacked) == [FIRST, SECOND, THIRD]
    for path in unpacked:
        assert path.read_bytes() == (alone / path.name).read_bytes()


def test_each_wrong_set_of_parts_gets_its_own_words(folder: Path, tmp_path: Path) -> None:
    later = copy_of(folder, tmp_path / "later", SECOND, THIRD)
    for given in (later, later / SECOND):
        with pytest.raises(UserError, match=f"lacks 1 of 3 parts .*{FIRST}"):
            resolve_model(str(given))
    swapped = copy_of(folder, tmp_path / "swapped", FIRST, SECOND, THIRD)
    (swapped / FIRST).rename(swapped / "x")
    (swapped / SECOND).rename(swapped / FIRST)
    (swapped / "x").rename(swapped / SECOND)
    with pytest.raises(UserError, match=f"{FIRST} holds part 2 of 3 of a split model"):
        resolve_model(str(swapped))
    more = copy_of(folder, tmp_path / "more", FIRST, SECOND, THIRD)
    shutil.copy(folder / THIRD, more / "m-00004-of-00003.gguf")
    with pytest.raises(UserError, match=r"m-00004-of-00003.gguf holds part 3 of 3"):
        resolve_model(str(more / "m-00004-of-00003.gguf"))
    with pytest.raises(UserError, match="holds 4 GGUF files; name one of them"):
        resolve_model(str(more))
    assert resolve_model(str(more / THIRD)).path == more / FIRST


def test_parts_in_capitals_are_refused_as_llama_cpp_would_not_find_them(
    folder: Path, tmp_path: Path
) -> None:
    capitals = copy_of(folder, tmp_path / "capitals", FIRST, SECOND, THIRD)
    for part in capitals.iterdir():
        part.rename(part.with_suffix(".GGUF"))
    for given in (capitals, capitals / SECOND.replace(".gguf", ".GGUF")):
        with pytest.raises(UserError, match=r"in small letters. Rename all parts"):
            resolve_model(str(given))


def test_a_part_without_tensors_is_a_part(tmp_path: Path) -> None:
    """What ``llama-gguf-split --no-tensor-first-split`` writes."""
    with pytest.MonkeyPatch.context() as patch:
        writer = functools.partial(gguf.GGUFWriter, split_max_tensors=10, small_first_shard=True)
        patch.setattr(gguf, "GGUFWriter", writer)
        tiny.write_tiny_gguf(tmp_path / "m.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == [FIRST, SECOND, THIRD]
    (tmp_path / "whole").mkdir()
    whole = tiny.write_tiny_gguf(tmp_path / "whole" / "m.gguf")
    expected = {tensor.name for tensor in check_gguf(whole).tensors}
    assert {tensor.name for tensor in check_gguf(tmp_path / FIRST).tensors} == expected
    export(str(tmp_path), "llama.cpp", tmp_path / "out")
    assert read_metadata(tmp_path / "out" / "model.gguf") == read_metadata(whole)
