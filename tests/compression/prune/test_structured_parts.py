"""The parts of width and depth pruning against naive loops and numpy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.compression.prune.cut import choose_cuts, removed_share
from galenic.compression.prune.depth_pattern import can_leave, is_even
from galenic.errors import UserError
from galenic.models.load import resolve_model
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

from galenic.compression.blocks.gradients import BoundaryFile  # noqa: E402
from galenic.compression.prune.compensate import compensate_  # noqa: E402
from galenic.compression.prune.importance import score_blocks  # noqa: E402
from galenic.compression.prune.influence import block_influence, perplexities  # noqa: E402
from galenic.models.checkpoint import open_checkpoint  # noqa: E402
from galenic.models.layers import read_layout  # noqa: E402
from galenic.models.stream import Stream, open_stream  # noqa: E402


def stream_of(folder: Path) -> Stream:
    return open_stream(open_checkpoint(resolve_model(str(folder))))


def whole(folder: Path, dtype: Any = None) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval().to(dtype or torch.float32)


def tokens_of(samples: int, length: int, seed: int = 1) -> Any:
    return torch.randint(5, 290, (samples, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_taylor_scores_equal_autograd_of_the_whole_model(tmp_path: Path, family: str) -> None:
    folder = write_tiny_hf(tmp_path / "m", family)
    tokens = tokens_of(3, 70)  # longer than one chunk of the loss
    found = score_blocks(stream_of(folder), tokens, "taylor", tmp_path, lambda _: None)
    layout = read_layout(whole(folder))
    layout.model.requires_grad_(True)
    channels, groups = torch.zeros(3, 96).double(), torch.zeros(3, 2).double()
    hidden = torch.zeros(3, 48).double()
    for row in tokens.split(1):
        seen: dict[tuple[int, str], Any] = {}

        def keep(key: tuple[int, str], args: Any, seen: Any = seen) -> None:
            seen[key] = args[0]
            args[0].retain_grad()

        hooks = [
            module.register_forward_pre_hook(
                lambda _, args, key=(block.index, role), keep=keep: keep(key, args)
            )
            for block in layout.blocks
            for role, module in (
                ("down", block.linears["down"].module),
                ("o", block.linears["o"].module),
                ("block", block.module),
            )
        ]
        logits = layout.model(row, use_cache=False).logits[0, :-1]
        torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum").backward()
        for hook in hooks:
            hook.remove()
        for (index, role), x in seen.items():
            terms = (x.detach() * x.grad)[0].double()
            if role == "block":
                hidden[index] += terms.square().sum(dim=0)
            elif role == "down":
                channels[index] += terms.square().sum(dim=0)
            else:
                groups[index] += terms.view(70, 2, -1).sum(dim=-1).square().sum(dim=0)
    for index, scores in enumerate(found):
        torch.testing.assert_close(scores.channels, channels[index], rtol=2e-3, atol=1e-6)
        torch.testing.assert_close(scores.groups, groups[index], rtol=2e-3, atol=1e-6)
        torch.testing.assert_close(scores.hidden, hidden[index], rtol=2e-3, atol=1e-6)


def test_activation_and_magnitude_scores_by_hand(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "phi3")
    tokens = tokens_of(2, 12)
    layout = read_layout(whole(folder))
    seen: dict[str, list[Any]] = {"down": [], "o": []}
    for role, kept in seen.items():
        layout.blocks[1].linears[role].module.register_forward_pre_hook(
            lambda _, args, kept=kept: kept.append(args[0].flatten(0, -2))
        )
    with torch.no_grad():
        layout.model(tokens, use_cache=False)
    weights = {role: linear.weight.tolist() for role, linear in layout.blocks[1].linears.items()}

    def column(role: str, c: int) -> float:
        return math.fsum(row[c] ** 2 for row in weights[role])

    def energy(role: str, c: int) -> float:
        return math.fsum(float(x) ** 2 for x in seen[role][0][:, c]) * column(role, c)

    found = score_blocks(stream_of(folder), tokens, "activation", tmp_path, lambda _: None)[1]
    assert found.channels[7].item() == pytest.approx(energy("down", 7), rel=1e-4)
    heads = sum(energy("o", c) for c in range(24, 48))  # two query heads of 12
    assert found.groups[1].item() == pytest.approx(heads, rel=1e-4)
    plain = score_blocks(stream_of(folder), None, "magnitude", tmp_path, lambda _: None)[1]
    squares = sum(x**2 for role in ("gate", "up") for x in weights[role][7]) + column("down", 7)
    assert plain.channels[7].item() == pytest.approx(squares, rel=1e-6)
    rows = [(role, r) for role in ("k", "v") for r in range(12)] + [("q", r) for r in range(24)]
    squares = sum(x**2 for role, r in rows for x in weights[role][r])
    squares += sum(column("o", c) for c in range(24))
    assert plain.groups[0].item() == pytest.approx(squares, rel=1e-6)


def test_combined_scores_rank_between_the_two(tmp_path: Path) -> None:
    stream, tokens = stream_of(write_tiny_hf(tmp_path / "m", "qwen2")), tokens_of(2, 20)
    taylor, energy, both = (
        score_blocks(stream, tokens, score, tmp_path, lambda _: None)
        for score in ("taylor", "activation", "combined")
    )
    ratio = [b.channels / (t.channels * e.channels).sqrt()
             for t, e, b in zip(taylor, energy, both, strict=True)]  # fmt: skip
    torch.testing.assert_close(torch.stack(ratio), torch.full((3, 96), ratio[0][0].item()).double())


def test_least_squares_equal_numpy_and_never_hurt() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12))
    weight = rng.normal(size=(5, 12))
    kept = np.array([0, 2, 3, 7, 11])
    gone = np.setdiff1d(np.arange(12), kept)
    gram = torch.from_numpy(inputs.T @ inputs)

    def output_error(changed: torch.Tensor) -> float:
        return float(((inputs @ (changed.numpy() - weight).T) ** 2).sum())

    found = torch.from_numpy(weight.copy())
    compensate_(found, gram, torch.from_numpy(kept), 1e-12)
    best = np.linalg.lstsq(inputs[:, kept], inputs @ weight.T, rcond=None)[0].T
    np.testing.assert_allclose(found[:, kept].numpy(), best, rtol=1e-7)
    assert (found[:, gone] == 0).all()
    plain = torch.from_numpy(weight.copy())
    plain[:, gone] = 0
    errors = [output_error(plain)]
    for damping in (1.0, 0.1, 0.01, 1e-6):
        damped = torch.from_numpy(weight.copy())
        compensate_(damped, gram, torch.from_numpy(kept), damping)
        errors.append(output_error(damped))
    assert errors == sorted(errors, reverse=True)


def test_inputs_that_are_zero_are_dropped_without_a_trace() -> None:
    weight, inputs = torch.randn(3, 4).double(), torch.randn(9, 4).double()
    inputs[:, 1] = 0
    found = weight.clone()
    compensate_(found, inputs.T @ inputs, torch.tensor([0, 2, 3]), 0.01)
    torch.testing.assert_close(found[:, [0, 2, 3]], weight[:, [0, 2, 3]])
    nothing = weight.clone()
    compensate_(nothing, torch.zeros(4, 4), torch.tensor([0]), 0.01)
    assert torch.equal(nothing[:, 0], weight[:, 0])


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_block_influence_by_hand(tmp_path: Path, family: str) -> None:
    folder, tokens = write_tiny_hf(tmp_path / "m", family), tokens_of(2, 24)
    found = block_influence(stream_of(folder), tokens, lambda _: None)
    model = whole(folder)
    passing: list[tuple[Any, Any]] = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _, args, out: passing.append((args[0], out)))
    with torch.no_grad():
        model(tokens, use_cache=False)
    for influence, (entering, leaving) in zip(found, passing, strict=True):
        near = []
        for a, b in zip(entering.view(-1, 48).tolist(), leaving.view(-1, 48).tolist(), strict=True):
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            near.append(dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b)))
        assert influence == pytest.approx(1 - sum(near) / len(near), abs=1e-5)


def test_perplexity_without_blocks_is_that_of_the_model_without_them(tmp_path: Path) -> None:
    folder, tokens = write_tiny_hf(tmp_path / "m", "mistral"), tokens_of(3, 80)
    found = perplexities(stream_of(folder), tokens, {1}, [2, 0])
    for cost, kept in zip(found, (0, 2), strict=True):
        model = whole(folder)
        model.model.layers = torch.nn.ModuleList([model.model.layers[kept]])
        with torch.no_grad():
            logits = model(tokens, use_cache=False).logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten())
        assert cost == pytest.approx(float(loss.exp()), rel=1e-4)


def test_boundaries_come_back_and_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BoundaryFile(tmp_path, 2, (2, 3, 4))
    hidden = torch.randn(4, 1, 3, 4)
    for number in (3, 0, 2, 1):
        store.write(number // 2, number % 2, hidden[number])
    assert all(torch.equal(store.read(n // 2, n % 2), hidden[n]) for n in range(4))
    store.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="Make room"):
        BoundaryFile(tmp_path, 10**9, (10**6, 3, 4))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.2, 0.45])
def test_a_cut_removes_the_share_asked_for_and_little_more(
    tmp_path: Path, family: str, sparsity: float
) -> None:
    block, sizes = stream_blocks(tmp_path, family)
    for cut in choose_cuts(block, sizes, sparsity, 32, [0, 1]):
        share = removed_share(block, sizes, cut)
        assert share >= sparsity - 1e-9
        assert cut.ffn_size % 32 == 0
        wider = replace(cut, ffn_size=cut.ffn_size + 32)
        assert wider.ffn_size > 96 or removed_share(block, sizes, wider) < sparsity


def stream_blocks(tmp_path: Path, family: str) -> tuple[Any, Any]:
    folder = write_tiny_hf(tmp_path / "m", family)
    shapes = open_checkpoint(resolve_model(str(folder))).shapes
    count = sum(p.numel() for p in shapes.blocks[0].module.parameters())
    half = replace(shapes.sizes, ffn_size=64)
    lost = 32 * 3 * 48
    assert removed_share(shapes.blocks[0], shapes.sizes, half) == pytest.approx(lost / count)
    return shapes.blocks[0], shapes.sizes


def test_cuts_that_are_not_possible(tmp_path: Path) -> None:
    block, sizes = stream_blocks(tmp_path, "llama")
    with pytest.raises(UserError, match="--ffn-multiple 128: the model has 96"):
        choose_cuts(block, sizes, 0.2, 128, [0])
    with pytest.raises(UserError, match="would leave nothing"):
        choose_cuts(block, sizes, 0.9, 32, [0, 1])


def test_windows_at_equal_distances() -> None:
    gemma = [True, True, False] * 3
    assert is_even(gemma)
    assert is_even([True, True, False, True])
    assert not is_even([True, False, False])
    assert can_leave(gemma, 6, (), {0, 8})  # one layer with a window from each third
    assert not can_leave(gemma, 8, (), {0, 8})
    assert not can_leave(gemma, 7, {0, 1}, {8})
    assert can_leave(gemma, 8, (), ())  # the last goes
    assert can_leave([False] * 4, 3, {1}, {0})
