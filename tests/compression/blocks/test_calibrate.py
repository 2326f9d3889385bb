"""The walk sees what the model itself computes, before and after weights have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.checkpoint import open_checkpoint
from galenic.models.files import ModelFiles
from galenic.models.layers import Block, Layout, read_layout
from galenic.models.stream import Stream, open_stream
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

from galenic.compression.blocks.walk import observe, walk  # noqa: E402


class Kept:
    """All inputs, in order."""

    finite = True

    def __init__(self, num_inputs: int) -> None:
        self.num_inputs, self.seen = num_inputs, []

    def update_(self, inputs: Any) -> None:
        self.seen.append(inputs.clone())


def load(folder: Path) -> Layout:
    return read_layout(
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    )


def stream_of(folder: Path) -> Stream:
    return open_stream(open_checkpoint(ModelFiles("m", "folder", folder, "")))


def halve_(block: Block) -> None:
    for linear in block.linears.values():
        linear.weight.mul_(0.5)


def direct(layout: Layout, tokens: Any, index: int) -> dict[str, Any]:
    """What the linear maps of a block read when the whole model runs on all samples at once."""
    seen: dict[str, Any] = {}
    hooks = []
    for name, role in (("attention", "k"), ("heads", "o"), ("ffn", "up"), ("channels", "down")):
        module = layout.blocks[index].linears[role].module
        hooks.append(
            module.register_forward_pre_hook(
                lambda _, args, name=name: seen.update({name: args[0].flatten(0, -2)})
            )
        )
    with torch.no_grad():
        layout.model(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_each_block_is_shown_what_the_changed_model_computes(tmp_path: Path, family: str) -> None:
    folder = write_tiny_hf(tmp_path, family)
    stream, changing = stream_of(folder), load(folder)
    tokens = torch.randint(5, 200, (3, 40), generator=torch.Generator().manual_seed(1))
    done: list[int] = []

    def rewrite_(block: Block, inputs: Any) -> None:
        expected = direct(changing, tokens, block.index)
        assert list(inputs) == ["attention", "heads", "ffn", "channels"]
        for name, kept in inputs.items():
            assert kept.num_inputs == expected[name].shape[1]
            torch.testing.assert_close(torch.cat(kept.seen), expected[name])
        halve_(block)
        halve_(changing.blocks[block.index])  # the next block is compared after this change

    walk(stream, tokens, Kept, rewrite_, done.append)
    assert done == [1, 2, 3]
    for block in stream.layout.blocks:  # nothing of the walk stays
        assert "forward" not in vars(block.module)
        assert all(parameter.is_meta for parameter in block.module.parameters())
    assert not any(module._forward_pre_hooks for module in stream.layout.model.modules())


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_observing_shows_the_unchanged_model(tmp_path: Path, family: str) -> None:
    folder = write_tiny_hf(tmp_path, family)
    tokens = torch.arange(5, 85).reshape(2, 40)
    for index, inputs in observe(
        stream_of(folder), tokens, Kept, lambda _: None, roles=["down", "q"]
    ):
        expected = direct(load(folder), tokens, index)
        assert list(inputs) == ["attention", "channels"]
        for name, kept in inputs.items():
            torch.testing.assert_close(torch.cat(kept.seen), expected[name])


def test_a_block_is_run_no_further_than_what_is_wanted(tmp_path: Path) -> None:
    stream, tokens = stream_of(write_tiny_hf(tmp_path, "llama")), torch.arange(5, 85).reshape(2, 40)
    passed: list[int] = []

    def rewrite_(block: Block, _inputs: Any) -> None:
        assert len(passed) == 2 * block.index  # the last map of this block computed nothing yet
        assert not any(module._forward_pre_hooks for module in block.module.modules())

    for block in stream.layout.blocks:
        down = block.linears["down"].module
        down.register_forward_hook(lambda _m, _args, output: passed.append(len(output)))
    walk(stream, tokens, Kept, rewrite_, lambda _: None)


def test_a_failing_method_leaves_no_weights_behind(tmp_path: Path) -> None:
    stream = stream_of(write_tiny_hf(tmp_path, "llama"))

    def fail_(_block: Block, _inputs: Any) -> None:
        raise KeyError("method")

    with pytest.raises(KeyError, match="method"):
        walk(stream, torch.arange(5, 25)[None], Kept, fail_, lambda _: None)
    assert all(p.is_meta for block in stream.layout.blocks for p in block.module.parameters())


def test_a_broken_model_is_named(tmp_path: Path) -> None:
    from galenic.compression.blocks.statistics import SecondMoments

    broken = load(write_tiny_hf(tmp_path, "llama"))
    broken.blocks[1].linears["up"].weight[0, 0] = float("nan")
    broken.model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"block 1 .* 'channels'"):
        walk(
            stream_of(tmp_path),
            torch.arange(5, 25)[None],
            SecondMoments,
            lambda *_: None,
            lambda _: None,
        )
