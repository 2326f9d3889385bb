"""The walk sees what the model itself computes, before and after weights have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.layers import Block, Layout, read_layout
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

from galenic.compress.calibrate import walk  # noqa: E402


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


@pytest.mark.parametrize("family", FAMILIES)
def test_each_block_is_shown_what_the_changed_model_computes(tmp_path: Path, family: str) -> None:
    folder = write_tiny_hf(tmp_path, family)
    layout, changing = load(folder), load(folder)
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

    walk(layout, tokens, Kept, rewrite_, done.append)
    assert done == [1, 2, 3]
    with torch.no_grad():  # nothing of the walk stays in the model
        found, expected = layout.model(tokens).logits, changing.model(tokens).logits
    torch.testing.assert_close(found, expected)
    assert all("forward" not in vars(block.module) for block in layout.blocks)
    assert not any(module._forward_pre_hooks for module in layout.model.modules())


def test_a_failing_method_leaves_the_model_usable(tmp_path: Path) -> None:
    layout = load(write_tiny_hf(tmp_path, "llama"))
    tokens = torch.arange(5, 25)[None]
    before = layout.model(tokens).logits

    def fail_(_block: Block, _inputs: Any) -> None:
        raise KeyError("method")

    with pytest.raises(KeyError, match="method"):
        walk(layout, tokens, Kept, fail_, lambda _: None)
    assert torch.equal(layout.model(tokens).logits, before)


def test_a_broken_model_is_named(tmp_path: Path) -> None:
    from galenic.compress.statistics import SecondMoments

    layout = load(write_tiny_hf(tmp_path, "llama"))
    layout.blocks[1].linears["up"].weight[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"block 1 .* 'channels'"):
        walk(layout, torch.arange(5, 25)[None], SecondMoments, lambda *_: None, lambda _: None)
