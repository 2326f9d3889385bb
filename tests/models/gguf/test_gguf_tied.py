"""A GGUF that holds one matrix twice, as embedding and as head, in two types."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

import tiny
from galenic.artifact.manifest import read_manifest
from galenic.errors import UserError
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.header import check_gguf
from galenic.models.gguf.tied import held_twice, tied_head
from galenic.models.load import resolve_model


def tensors_of(path: Path) -> dict[str, gguf.ReaderTensor]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def stored(dense: Path, target: Path, embedding: str, head: str) -> Path:
    """The file with these types, all else as it is."""
    from galenic.compression.quantize.kquant import quantize_gguf

    source = gguf_source(dense)
    types = {tensor.name: "F32" for tensor in source.tensors}
    types |= {"token_embd.weight": embedding, "output.weight": head}
    quantize_gguf(source, target, types)
    return target


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedding in Q4_0, the head, which is the same matrix, in Q8_0."""
    folder = tmp_path_factory.mktemp("twice")
    original = tiny.tiny_tensors

    def with_one_matrix(*arguments: object) -> dict[str, np.ndarray]:
        tensors = original(*arguments)  # type: ignore[arg-type]
        return tensors | {"output.weight": tensors["token_embd.weight"]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "tiny_tensors", with_one_matrix)
        tiny.write_tiny_gguf(folder / "dense.gguf", shape=tiny.TinyShape(tied=False))
    return stored(folder / "dense.gguf", folder / "twice.gguf", "Q4_0", "Q8_0")


def test_the_finer_one_is_kept_for_both_and_all_else_stays(twice: Path) -> None:
    files = resolve_model(str(twice))
    assert held_twice(files)
    once = tied_head(files)
    before, after = tensors_of(twice), tensors_of(once.path)
    assert before.keys() - after.keys() == {"output.weight"}
    for name, tensor in after.items():
        source = before["output.weight" if name == "token_embd.weight" else name]
        assert tensor.tensor_type == source.tensor_type
        np.testing.assert_array_equal(tensor.data, source.data)
    known = gguf.GGUFReader(twice).get_field("tokenizer.ggml.tokens").contents()
    assert gguf.GGUFReader(once.path).get_field("tokenizer.ggml.tokens").contents() == known
    assert tied_head(files) == once
    assert once.name == files.name
    assert once.sha256 != files.sha256


def test_the_head_is_as_it_was(twice: Path) -> None:
    """The head's values decide the logits: the same hidden states give the same ones."""
    pytest.importorskip("torch", reason="needs the train extra")
    from galenic.models.gguf.dequantize import dequantized_folder
    from galenic.models.tensors import list_tensors

    files = resolve_model(str(twice))
    untied, tied = (dequantized_folder(one) for one in (files, tied_head(files)))
    first, second = (list_tensors([one / "model.safetensors"]) for one in (untied, tied))
    assert "lm_head.weight" not in second
    head = first["lm_head.weight"].map()
    np.testing.assert_array_equal(second["model.embed_tokens.weight"].map(), head)
    assert not np.array_equal(first["model.embed_tokens.weight"].map(), head)


def test_an_embedding_that_is_finer_is_kept(twice: Path, tmp_path: Path) -> None:
    path = stored(twice.with_name("dense.gguf"), tmp_path / "other.gguf", "Q8_0", "Q4_0")
    once = tied_head(resolve_model(str(path)))
    expected = tensors_of(path)["token_embd.weight"]
    np.testing.assert_array_equal(tensors_of(once.path)["token_embd.weight"].data, expected.data)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    untied = tiny.write_tiny_gguf(tmp_path / "a.gguf", shape=tiny.TinyShape(tied=False))
    tied = tiny.write_tiny_gguf(tmp_path / "b.gguf", shape=tiny.TinyShape(tied=True))
    assert not held_twice(resolve_model(str(untied)))
    assert not held_twice(resolve_model(str(tied)))
    with pytest.raises(UserError, match="other weights than its embedding"):
        tied_head(resolve_model(str(untied)))
    with pytest.raises(UserError, match="once already"):
        tied_head(resolve_model(str(tied)))
    assert not any((tmp_path / "home").rglob("tied"))


def with_and_without(command: list[str], folder: Path) -> None:
    """Make ``plain`` and, with --tie-head, ``tied``: only the first says that it would help."""
    from typer.testing import CliRunner

    from galenic.cli.main import app

    plain = CliRunner().invoke(app, [*command, "-o", str(folder / "plain")])
    assert plain.exit_code == 0, plain.output
    assert "--tie-head keeps one" in plain.output
    told = CliRunner().invoke(app, [*command, "--tie-head", "-o", str(folder / "tied")])
    assert told.exit_code == 0, told.output
    assert "--tie-head" not in told.output


@pytest.mark.slow
def test_quantize_stores_it_once_and_says_where_it_could(twice: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    with_and_without(["quantize", str(twice), "--type", "Q4_0", "--no-importance"], tmp_path)
    names = {one.name for one in check_gguf(tmp_path / "tied" / "model.gguf").tensors}
    assert "output.weight" not in names
    sizes = [(tmp_path / name / "model.gguf").stat().st_size for name in ("plain", "tied")]
    assert sizes[1] < sizes[0]


@pytest.mark.slow
def test_prune_keeps_one_head_and_says_where_it_could(twice: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from galenic.models.tensors import list_tensors

    with_and_without(["prune", str(twice), "--method", "magnitude"], tmp_path)
    heads = [
        "lm_head.weight" in list_tensors([tmp_path / name / "model.safetensors"])
        for name in ("plain", "tied")
    ]
    assert heads == [True, False]
    stage = read_manifest(tmp_path / "tied").stages[-1]
    assert stage.options["tie_head"] is True
