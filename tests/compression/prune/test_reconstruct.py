"""Blocks fitted to those of the dense model after a cut, in one step or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.errors import UserError
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.blocks.walk import embed, run_block  # noqa: E402
from galenic.compression.prune.config import PruneConfig  # noqa: E402
from galenic.compression.prune.depth import Depth  # noqa: E402
from galenic.compression.prune.reconstruct import DAMPING, matching_blocks  # noqa: E402
from galenic.compression.prune.run import prune  # noqa: E402
from galenic.compression.prune.wanda import Wanda  # noqa: E402
from galenic.compression.prune.width import Width  # noqa: E402
from galenic.models.checkpoint import open_checkpoint  # noqa: E402
from galenic.models.files import ModelFiles  # noqa: E402
from galenic.models.stream import Stream, open_stream  # noqa: E402
from galenic.watcher import SilentWatcher  # noqa: E402

WORDS = "the man of the ward and the patient said yes or no in the morning of the day"


def stream_of(folder: Path) -> Stream:
    return open_stream(open_checkpoint(ModelFiles("m", "folder", folder, "")))


def run(model: Path, output: Path, method: Any, **others: Any) -> Any:
    text = output.parent / "text.txt"
    rng = np.random.default_rng(0)
    text.write_text("\n\n".join(" ".join(rng.permutation(WORDS.split())) for _ in range(90)))
    config = PruneConfig(model=str(model), text=str(text), num_samples=8, seq_len=32, **others)
    return prune(config, method, output, SilentWatcher()).stages[-1]


@pytest.mark.slow
def test_the_last_map_is_the_ridge_regression_on_what_is_lacking(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    method = Width(sparsity=0.3, score="magnitude")
    plain = run(model, tmp_path / "plain", method)
    fitted = run(model, tmp_path / "fitted", method, reconstruct=True)
    assert fitted.checks["lacking_after"] < 0.9 * fitted.checks["lacking_before"]
    assert fitted.options["reconstruct"] is True
    assert "reconstruct" not in plain.options
    assert fitted.sizes == plain.sizes

    from galenic.compression.blocks.tokens import pack_tokens
    from galenic.data.calibration import plain_texts

    dense, cut, whole = (stream_of(p) for p in (model, tmp_path / "plain", tmp_path / "fitted"))
    config = PruneConfig(model="m", text="t", num_samples=8, seq_len=32)
    packed = pack_tokens(config, [plain_texts(tmp_path / "text.txt")], dense.checkpoint)
    tokens = torch.from_numpy(packed)
    outputs, seen = {}, []
    for name, stream in (("dense", dense), ("cut", cut)):
        hidden, settings = embed(stream, tokens)
        with stream.block(0) as block, torch.no_grad():
            down = block.linears["down"]
            hook = down.module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
            outputs[name] = run_block(block, hidden, settings[0]).flatten(0, 1).double()
            hook.remove()
            weight = down.weight.double().clone()
    read = seen[-1].flatten(0, 1).double().numpy()
    moments = read.T @ read
    moments += DAMPING * moments.diagonal().mean() * np.eye(len(moments))
    change = np.linalg.solve(moments, read.T @ (outputs["dense"] - outputs["cut"]).numpy()).T
    with whole.block(0) as block:
        found = block.linears["down"].weight.double()
    np.testing.assert_allclose(found, weight.numpy() + change, atol=2e-4)


@pytest.mark.slow
def test_steps_end_where_one_cut_ends_and_blocks_know_their_origin(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    method = Depth(sparsity=0.34, protect_last=0, protect_first=0, metric="influence")
    run(model, tmp_path / "plain", method)
    dense, cut = stream_of(model), stream_of(tmp_path / "plain")
    origins = matching_blocks(dense, cut)
    assert len(origins) == len(dense.layout.blocks) - 2
    for place, index in enumerate(origins):
        with dense.block(index) as one, cut.block(place) as other:
            assert torch.equal(one.linears["q"].weight, other.linears["q"].weight)
    stage = run(model, tmp_path / "steps", method, steps=2)
    assert stage.options["steps"] == 2
    assert len(stream_of(tmp_path / "steps").layout.blocks) == len(origins)
    assert stage.checks["lacking_after"] < stage.checks["lacking_before"]
    assert not list((tmp_path / "steps").glob(".steps-*"))


def test_what_cannot_be_reconstructed_is_said(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    with pytest.raises(UserError, match=r"\(width, depth\); --method wanda is not one"):
        run(model, tmp_path / "out", Wanda(), steps=2)
    with pytest.raises(UserError, match="another hidden size"):
        run(model, tmp_path / "out", Width(hidden_size=32), reconstruct=True)
    with pytest.raises(UserError, match="at each of the --steps"):
        run(model, tmp_path / "out", Width(kv_groups=1), steps=2)
    gemma = write_tiny_hf(tmp_path / "gemma", "gemma3", hidden_size=64)
    with pytest.raises(UserError, match="do not add the output of their last linear layer"):
        run(gemma, tmp_path / "out", Width(sparsity=0.3, score="magnitude"), reconstruct=True)
