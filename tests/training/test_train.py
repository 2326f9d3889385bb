"""The training loop: the same result in every way it can be run, and stops that say why."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import training
from galenic.errors import UserError
from galenic.training.batch import TrainItem
from galenic.training.checkpoints import LOG, STATE
from galenic.training.loop import choose_precision
from galenic.training.validation import Validation
from train_child import SETTINGS
from training import Quiet, Texts, load_tiny, make_trainer, some_items

CHILD = Path(training.__file__).with_name("train_child.py")


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [row["loss"] for row in rows if "step" in row]


@pytest.mark.slow
def test_ten_examples_are_learnt_by_heart(tmp_path: Path) -> None:
    model = load_tiny(tmp_path / "model")
    outcome = make_trainer(
        model, tmp_path / "run", epochs=20, learning_rate=3e-3, evaluate_every=20
    ).run()
    assert outcome.best is not None
    assert outcome.validations[0].loss > 1
    assert outcome.best.loss < 0.05
    assert outcome.best.accuracy == {"toy": 1.0}
    assert outcome.stopped == "all 60 steps are done"


@pytest.mark.slow
def test_bfloat16_takes_nearly_the_same_steps(tmp_path: Path) -> None:
    found = {}
    for precision in ("float32", "bfloat16"):
        trainer = make_trainer(
            load_tiny(tmp_path / "model"), tmp_path / precision, precision=precision, epochs=2
        )
        trainer.run()
        assert trainer.precision == precision
        assert {weight.dtype for weight in trainer.parameters.values()} == {torch.float32}
        found[precision] = losses(tmp_path / precision)
    assert found["bfloat16"] != found["float32"]  # it was really used
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.02)


@pytest.mark.parametrize(("has_amx", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_the_precision_is_the_machines_faster_one(
    monkeypatch: pytest.MonkeyPatch, has_amx: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert choose_precision("auto") == chosen
    assert choose_precision("float32") == "float32"


@pytest.mark.slow
def test_accumulated_gradients_give_the_same_steps(tmp_path: Path) -> None:
    found = []
    for tokens in (10_000, 16):
        model = load_tiny(tmp_path / "model")
        folder = tmp_path / str(tokens)
        make_trainer(model, folder, batch_tokens=tokens, max_steps=4, evaluate_every=9).run()
        found.append((losses(folder), weights(model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for name, one in found[0][1].items():
        # Adam divides by the gradient's own size, so the first steps magnify rounding
        torch.testing.assert_close(found[1][1][name], one, rtol=1e-2, atol=1e-4)


def test_the_first_step_by_hand(tmp_path: Path) -> None:
    """AdamW's first step is lr * g / (|g| + eps), after decay, of the clipped mean gradient."""
    model, plain = load_tiny(tmp_path / "model"), load_tiny(tmp_path / "model")
    items = some_items(4)
    for item in items:
        tokens = torch.tensor([item.tokens])
        labels = torch.full_like(tokens, -100)
        labels[0, -1] = tokens[0, -1]
        share = item.weight / sum(item.weight for item in items)
        (share * plain(input_ids=tokens, labels=labels).loss).backward()
    options = {"learning_rate": 1e-3, "weight_decay": 0.1, "warmup": 0.0, "max_grad_norm": 0.5}
    trainer = make_trainer(model, tmp_path / "run", data=Texts(items), max_steps=1, **options)
    trainer.run()
    after = torch.load(tmp_path / "run" / STATE, weights_only=True)["weights"]
    gradients = [p.grad.double() for p in plain.parameters()]
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    assert norm > 0.5
    for (name, old), g in zip(plain.named_parameters(), gradients, strict=True):
        g = g * 0.5 / norm  # noqa: PLW2901
        wanted = old.double() * (1 - 1e-3 * 0.1) - 1e-3 * g / (g.abs() + 1e-8)
        clear = g.abs() > 1e-5
        new = after[f"model.{name}"].double()
        torch.testing.assert_close(new[clear], wanted[clear], rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    "fail_at", [pytest.param(n, marks=() if n == 4 else pytest.mark.slow) for n in (1, 3, 4)]
)
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, fail_at: int) -> None:
    options = {"epochs": 2, "max_steps": 6, "learning_rate": 1e-3}
    whole = load_tiny(tmp_path / "model", dropout=0.2)
    first = make_trainer(whole, tmp_path / "whole", **options).run()
    broken = load_tiny(tmp_path / "model", dropout=0.2)
    with pytest.raises(KeyboardInterrupt):
        make_trainer(broken, tmp_path / "run", watcher=Quiet(fail_at), **options).run()
    torch.manual_seed(99)  # the machine's own randomness plays no part
    resumed, watcher = load_tiny(tmp_path / "model", dropout=0.2), Quiet()
    second = make_trainer(resumed, tmp_path / "run", watcher=watcher, **options).run()
    assert second == first
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert any("resuming after step" in text for text in watcher.said) == (fail_at > 2)
    for name, value in weights(whole).items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    model, again = load_tiny(tmp_path / "model"), load_tiny(tmp_path / "model")
    first = make_trainer(model, tmp_path / "run", max_steps=3).run()
    second = make_trainer(again, tmp_path / "run", max_steps=3, watcher=Quiet(1)).run()
    assert second == first
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


@pytest.mark.slow
def test_the_best_weights_are_kept_and_no_gain_ends_the_run(tmp_path: Path) -> None:
    """Held-out answers are the opposite of what is learnt, so training only makes them worse."""
    items = some_items()
    turned = [
        TrainItem((*i.tokens[:-1], 261 - i.tokens[-1]), i.start, 1.0, "toy", i.choices, i.gold)
        for i in items
    ]
    model = load_tiny(tmp_path / "model")
    warm = make_trainer(model, tmp_path / "warm", epochs=9, learning_rate=3e-3, evaluate_every=30)
    warm.run()
    before = weights(model)
    options = {"epochs": 20, "learning_rate": 1e-3, "warmup": 0.0, "patience": 2}
    outcome = make_trainer(model, tmp_path / "run", data=Texts(items, turned), **options).run()
    assert outcome.best is not None
    assert outcome.best.step == 0
    assert outcome.steps == 4
    assert outcome.stopped.startswith("nothing was better than step 0")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_collapse_stops_the_run(tmp_path: Path) -> None:
    """All answers learnt are "yes" while half of those looked at are "no"."""
    wrong = [
        TrainItem((*i.tokens[:-1], 130), i.start, 1.0, "toy", i.choices, "yes")
        for i in some_items(10)
    ]
    model = load_tiny(tmp_path / "model")
    options = {"epochs": 40, "learning_rate": 3e-3, "warmup": 0.0, "patience": 99}
    trainer = make_trainer(
        model, tmp_path / "run", data=Texts(wrong, some_items(10)), collapse_patience=2, **options
    )
    outcome = trainer.run()
    assert "collapsed to one answer (toy: 'yes') for 2 validations in a row" in outcome.stopped
    assert outcome.steps < trainer.total
    assert "COLLAPSED" in trainer.watcher.said[-1]  # type: ignore[attr-defined]


def validation(predictions: dict[str, int], gold: dict[str, int], loss: float = 1.0) -> Validation:
    return Validation(0, loss, {"g": 0.5}, {"g": predictions}, {"g": gold})


def test_what_counts_as_a_collapse() -> None:
    even = {"A": 10, "B": 10}
    assert validation({"A": 20}, even).collapsed() == {"g": "A"}
    assert validation({"A": 19, "B": 1}, even).collapsed() == {"g": "A"}
    assert not validation({"A": 18, "B": 2}, even).collapsed()
    assert not validation({"A": 20}, {"A": 20}).collapsed()  # nothing else is right
    assert not validation({"A": 9}, {"A": 4, "B": 5}).collapsed()  # too few to tell


def test_a_diverged_loss_is_an_error(tmp_path: Path) -> None:
    class Broken:
        def __call__(self, logits: Any, batch: Any) -> Any:
            return logits.sum() * math.nan

    model = load_tiny(tmp_path / "model")
    with pytest.raises(UserError, match=r"nan .* at step 1: the training has diverged"):
        make_trainer(model, tmp_path / "run", objective=Broken()).run()


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    model = load_tiny(tmp_path / "model")
    make_trainer(model, tmp_path / "run", max_steps=1).run()
    with pytest.raises(UserError, match=r"other settings \(learning_rate, max_steps\)"):
        make_trainer(model, tmp_path / "run", max_steps=2, learning_rate=1e-3).run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds other files"):
        make_trainer(model, tmp_path / "mine").run()
    with pytest.raises(UserError, match="is not a folder"):
        make_trainer(model, tmp_path / "mine" / "thesis.txt").run()


def test_nothing_to_train_is_an_error(tmp_path: Path) -> None:
    model = load_tiny(tmp_path / "model")
    with pytest.raises(UserError, match="at least one text"):
        make_trainer(model, tmp_path / "run", data=Texts([], some_items(1)))
    model.requires_grad_(False)
    with pytest.raises(UserError, match="nothing to train"):
        make_trainer(model, tmp_path / "run")


def test_checkpointed_gradients_are_the_same(tmp_path: Path) -> None:
    found = []
    for checkpointing in (False, True):
        model = load_tiny(tmp_path / "model")
        folder = tmp_path / str(checkpointing)
        make_trainer(model, folder, max_steps=3, gradient_checkpointing=checkpointing).run()
        found.append(weights(model))
    for name, one in found[0].items():
        torch.testing.assert_close(found[1][name], one, rtol=1e-4, atol=1e-6)


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run_in_process(
    folder: Path, model: Path, launcher: Sequence[str] = (), flags: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *launcher, str(CHILD), str(model), str(folder), *flags]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


@pytest.mark.kills
@pytest.mark.parametrize(("launcher", "flags"), [((), ()), (TWO, ("--fsdp",))], ids=["one", "fsdp"])
def test_a_killed_process_goes_on_to_the_same_weights(
    tmp_path: Path, launcher: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    """Spread, the optimizer's state comes back in shares, too: the losses after it are the same."""
    load_tiny(tmp_path / "model")
    start = partial(run_in_process, model=tmp_path / "model", launcher=launcher, flags=flags)
    whole = start(tmp_path / "whole")
    killed = start(tmp_path / "run")
    log = tmp_path / "run" / LOG
    while killed.poll() is None and not (log.exists() and len(losses(tmp_path / "run")) >= 7):
        time.sleep(0.005)
    children = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    for child in children:
        child.kill()
    assert killed.wait() == -signal.SIGKILL
    psutil.wait_procs(children)
    killed.communicate()
    steps = len(losses(tmp_path / "run"))
    again = start(tmp_path / "run")
    for process in (whole, again):
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert steps < len(losses(tmp_path / "whole"))  # it was in the middle
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    one, two = (torch.load(tmp_path / name / STATE, weights_only=True) for name in ("whole", "run"))
    assert all(torch.equal(one["weights"][name], two["weights"][name]) for name in one["weights"])


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--fsdp",)], ids=["ddp", "fsdp"])
def test_two_processes_learn_as_one(tmp_path: Path, flags: tuple[str, ...]) -> None:
    model = load_tiny(tmp_path / "model")
    two = run_in_process(tmp_path / "two", tmp_path / "model", TWO, flags)
    make_trainer(model, tmp_path / "one", **SETTINGS).run()
    _, errors = two.communicate()
    assert two.returncode == 0, errors.decode()
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    alone, shared = (
        torch.load(tmp_path / name / STATE, weights_only=True) for name in ("one", "two")
    )
    validations = [state["outcome"]["validations"] for state in (alone, shared)]
    assert len(validations[0]) == len(validations[1])
    for a, b in zip(*validations, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-3)
        assert b["gold"] == a["gold"]
    for name, value in alone["best_weights"].items():
        torch.testing.assert_close(shared["best_weights"][name], value, rtol=1e-2, atol=1e-3)
    if flags:
        model = torch.load(tmp_path / "two" / "model.pt", weights_only=True)
        assert model.keys() == weights(load_tiny(tmp_path / "model")).keys()
        for name, value in shared["best_weights"].items():
            assert torch.equal(model[name.removeprefix("model.")], value), name
