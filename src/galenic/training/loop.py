"""The training loop, which takes model, data and loss as arguments.

A run is a folder. Its state (trainable weights, optimizer, position in the data) is saved
periodically under a temporary name and then renamed, so that a killed run resumes from the last
state and ends with the same weights as an uninterrupted one. Several processes (``accelerate
launch``, ``torchrun``) share each step's batches and sum their gradients; each holds the whole
model (DDP), or a shard of it (`galenic.training.fsdp`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

import torch

from galenic.errors import UserError
from galenic.training.batch import Tally
from galenic.training.checkpoints import TrainingFolder
from galenic.training.config import Precision, TrainConfig
from galenic.training.distributed import spreads
from galenic.training.early_stopping import Patience, best_of, judge
from galenic.training.fsdp import alike, optimizer_alike, refill, shard, unsharded
from galenic.training.validation import Validation, describe, summarize
from galenic.units import counted
from galenic.watcher import Watcher

__all__ = [
    "TrainConfig",
    "TrainData",
    "Trainable",
    "Trainer",
    "TrainingOutcome",
    "choose_precision",
]


class TrainData(Protocol):
    """Training texts by epoch, and ``heldout`` texts for validation, in the learner's format."""

    heldout: Sequence[Any]

    def epoch(self, number: int) -> Sequence[Any]:
        """Return the texts of an epoch, in an order that depends on ``number`` alone.

        All epochs have the same number of texts.
        """


class Trainable(Protocol):
    """A PyTorch module to be trained; calling it with a batch returns the batch's summed loss.

    Its texts have a ``bundle``: texts with the same bundle stay adjacent when texts are shuffled;
    empty means none. Its batches are dataclasses with ``num_tokens``, ``weights`` (a tensor with
    the weights of the summed losses) and ``weight``, their sum.

    `galenic.training.learner.Learner` implements it.
    """

    model: Any
    """The transformers model."""

    def cut(self, items: Sequence[Any], most_tokens: int) -> list[Any]:
        """Split texts into batches of up to ``most_tokens`` tokens (or one longer text)."""

    def attending(self, batch: Any) -> AbstractContextManager[None]:
        """Context that must surround the forward and the backward pass of a batch."""

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """See ``torch.nn.Module.named_parameters``."""

    def train(self) -> Any:
        """See ``torch.nn.Module.train``."""

    def to(self, device: Any) -> Any:
        """See ``torch.nn.Module.to``."""


@dataclass
class TrainingOutcome:
    """Progress and result of a training run.

    Attributes:
        steps: number of optimizer steps done.
        stopped: why training ended, in words; empty while it runs.
        best: the best validation; the model ends with the weights of that step.
        validations: all validations; the first was made before any step.
        collapsed: whether training stopped because the predictions had collapsed.
    """

    steps: int = 0
    stopped: str = ""
    best: Validation | None = None
    validations: list[Validation] = field(default_factory=list)
    collapsed: bool = False

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> TrainingOutcome:
        """Rebuild from ``dataclasses.asdict``; up to 0.2 ``validations`` was named ``looks``."""
        rest = {name: value for name, value in saved.items() if name not in ("looks", "best")}
        best, made = saved["best"], saved["validations" if "validations" in saved else "looks"]
        rest["validations"] = [Validation(**one) for one in made]
        return cls(**rest, best=Validation(**best) if best else None)


Measure = Callable[[Any, Iterable[Any]], Tally]
"""Function (learner, batches) that computes loss and answers; leaves the model in eval mode."""


class Trainer:
    """A training run.

    Args:
        learner: model and objective; parameters that require gradients are trained.
        data: training and held-out texts.
        config: training options.
        folder: the run's folder; an unfinished run found there is resumed.
        fingerprint: what the run depends on besides ``config`` (data, model, method), as plain
            values.
        watcher: reports progress.
        measure: computes loss and answers on the held-out split, which select the best weights;
            without it the last weights are kept.

    Raises:
        UserError: no parameter requires gradients, or there are no training or held-out texts.
    """

    def __init__(
        self,
        learner: Trainable,
        data: TrainData,
        config: TrainConfig,
        folder: Path,
        *,
        fingerprint: dict[str, Any],
        watcher: Watcher,
        measure: Measure | None = None,
    ) -> None:
        from accelerate import Accelerator

        self.data, self.config, self.watcher, self.measure = data, config, watcher, measure
        if not any(p.requires_grad for _, p in learner.named_parameters()):
            raise UserError("there is nothing to train: no parameter requires gradients.")
        self.num_texts = len(data.epoch(0))
        if not self.num_texts or (measure and not data.heldout):
            raise UserError("training needs at least one text to learn and one to validate on.")
        self.steps_per_epoch = math.ceil(self.num_texts / config.batch_size)
        self.total = min(config.epochs * self.steps_per_epoch, config.max_steps or 1 << 62)
        if config.gradient_checkpointing:
            _checkpoint(learner.model)
        self.precision = choose_precision(config.precision)
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.learner, self.hollow = learner, None
        if spreads(config):
            learner.to(self.accelerator.device)
            self.hollow = shard(learner.model, self.accelerator.num_processes)
        self.parameters = {n: p for n, p in learner.named_parameters() if p.requires_grad}
        self.optimizer: Any = torch.optim.AdamW(
            self.parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.wrapped: Any = learner
        if self.hollow is None:
            self.wrapped, self.optimizer = self.accelerator.prepare(learner, self.optimizer)
        self.folder = TrainingFolder(
            folder,
            {**config.model_dump(mode="json"), **fingerprint},
            writes=self.accelerator.is_main_process,
        )
        self.outcome = TrainingOutcome()
        self.best_weights: dict[str, Any] = {}
        patience = config.patience, config.collapse_patience
        self.patience = Patience(*patience, rise=self._rise)

    def run(self) -> TrainingOutcome:
        """Start or resume training, run it to the end, and load the best weights into the model.

        Raises:
            UserError: the folder holds a different run, or the loss became infinite or NaN.
        """
        with self.folder.locked():
            self._restore(self.folder.open())
            self.accelerator.wait_for_everyone()  # all must have read before rank 0 writes
            processes = self.accelerator.num_processes
            self._say(
                f"training in {self.precision}, in {counted(processes, 'process', 'processes')}"
                + (", the weights spread over them (FSDP)" if self.hollow is not None else "")
            )
            if self.measure and not self.outcome.validations:
                self._stage("looking at the held-out texts")
                self._look()
                self._save()  # a validation may take minutes
            self._stage("training", total=self.total, done=self.outcome.steps)
            while self.outcome.steps < self.total and not self.outcome.stopped:
                epoch, at = divmod(self.outcome.steps, self.steps_per_epoch)
                for items in self._steps(epoch)[at:]:
                    self._advance(items)
                    if self.outcome.steps >= self.total or self.outcome.stopped:
                        break
            if self.measure and self.outcome.validations[-1].step != self.outcome.steps:
                self._look()
            self.outcome.stopped = self.outcome.stopped or (
                f"all {self.total} steps are done" if self.total > 1 else "its only step is done"
            )
            self._save()
        if self.measure:
            self._put_back(self.best_weights)
        if self.hollow is not None:
            self.learner.model = refill(self.hollow, self.learner.model)
        return self.outcome

    def close(self) -> None:
        """Wait for the other processes, and leave the process group."""
        self.accelerator.wait_for_everyone()
        # Release DDP's reducer first: if it held the last reference to the process group, we would
        # wait for gloo's threads while holding the GIL, which they may need: a rare deadlock.
        self.wrapped = self.learner
        self.accelerator.free_memory()
        self.accelerator.end_training()

    def _steps(self, epoch: int) -> list[list[Any]]:
        items = list(self.data.epoch(epoch))
        if len(items) != self.num_texts:
            raise ValueError(f"pass {epoch} has {len(items)} texts, the first {self.num_texts}")
        items = _shuffle(items, Random(f"{self.config.seed}-{epoch}"))  # noqa: S311
        size = self.config.batch_size
        return [items[start : start + size] for start in range(0, len(items), size)]

    def _advance(self, items: Sequence[Any]) -> None:
        """Do one step, and validate and save the state if they are due."""
        began = time.perf_counter()
        batches = self.learner.cut(items, self.config.batch_tokens)
        with self._own_random():
            loss = self._learn(batches)
        self.outcome.steps += 1
        step = self.outcome.steps
        speed = sum(batch.num_tokens for batch in batches) / (time.perf_counter() - began)
        rate = self.optimizer.param_groups[0]["lr"]
        self.folder.note(
            {
                "step": step,
                "loss": loss,
                "learning_rate": rate,
                "tokens_per_second": round(speed, 1),
            }
        )
        if self.accelerator.is_main_process:
            self.watcher.advance(step, f"loss {loss:.4f}, lr {rate:.1e}, {speed:.0f} tokens/s")
        if self.measure and step % self.config.evaluate_every == 0:
            self._look()
        if step % self.config.checkpoint_every == 0:
            self._save()

    def _learn(self, batches: list[Any]) -> float:
        """Do one optimizer step; return the mean loss of its texts, computed before the update.

        Raises:
            UserError: the loss or its gradient is infinite or NaN; the weights are not updated.
        """
        whole = sum(batch.weight for batch in batches)
        mine = self._share(batches)
        loss = 0.0
        self.learner.train()
        for number, batch in enumerate(mine):
            with self.learner.attending(batch), self._gathering(number == len(mine) - 1):
                with self._products():
                    part = self.wrapped(batch)
                # processes average their gradients; scaled so that this gives the mean over texts
                part = part / whole * self.accelerator.num_processes
                self.accelerator.backward(part)
            loss += float(part.detach())
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule(self.outcome.steps)
        parameters, highest = self.parameters.values(), self.config.max_grad_norm
        norm = unsharded(torch.nn.utils.clip_grad_norm_(parameters, highest))
        loss = self._mean(loss)
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            raise UserError(
                f"the loss is {loss:.4g} and its gradient {float(norm):.4g} at step "
                f"{self.outcome.steps + 1}: the training has diverged. Lower --learning-rate and "
                "begin again with another folder."
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def _products(self) -> Any:
        """Autocast for matrix products; accelerate only allows one precision per process."""
        narrow = self.precision == "bfloat16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=narrow)

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Seed dropout from seed, step and rank, so that no random state need be saved."""
        place = f"{self.config.seed}-{self.outcome.steps}-{self.accelerator.process_index}"
        with torch.random.fork_rng():
            torch.manual_seed(Random(place).getrandbits(63))  # noqa: S311
            yield

    def _share(self, batches: list[Any]) -> list[Any]:
        """Return this process's batches, padded with zero weight to equal counts on all ranks."""
        count, rank = self.accelerator.num_processes, self.accelerator.process_index
        idle = replace(batches[-1], weights=torch.zeros_like(batches[-1].weights))
        return [*batches, *[idle] * (-len(batches) % count)][rank::count]

    def _gathering(self, last: bool) -> Any:
        # sharded gradients are reduced after every batch: delaying it would keep them in full
        waits = not last and self.hollow is None
        return self.accelerator.no_sync(self.wrapped) if waits else nullcontext()

    def _mean(self, value: float) -> float:
        if self.accelerator.num_processes == 1:
            return value
        given = torch.tensor([value], device=self.accelerator.device)
        return float(self.accelerator.gather(given).mean())

    def _schedule(self, step: int) -> float:
        """Factor on the peak learning rate: linear warmup, then cosine decay to zero."""
        rise = self._rise
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.total - rise)))

    @property
    def _rise(self) -> int:
        return round(self.config.warmup * self.total)

    def _look(self) -> None:
        """Validate on the held-out split; update the best weights and decide whether to stop."""
        from accelerate.utils import gather_object

        if self.measure is None:
            raise ValueError("nothing measures the held-out split")
        count, rank = self.accelerator.num_processes, self.accelerator.process_index
        batches = self.learner.cut(self.data.heldout, self.config.batch_tokens)
        mine = batches[rank::count]
        tally = self.measure(self.learner, mine)  # in float32, as the finished model is used
        if self.hollow is not None and len(mine) < len(batches[::count]):
            self.measure(self.learner, batches[:1])  # take part in the other ranks' last gather
        validation = summarize(gather_object([tally]), self.outcome.steps)
        self.outcome.validations.append(validation)
        self.folder.note({"validation": asdict(validation)})
        self.outcome.best = best_of(self.outcome.validations)
        if self.outcome.best is validation:
            self.best_weights = {n: p.detach().clone() for n, p in self.parameters.items()}
        if self.accelerator.is_main_process:
            self.watcher.keep(describe(validation, self.outcome.best))
        decision = judge(self.outcome.validations, self.patience)
        self.outcome.stopped, self.outcome.collapsed = decision.reason, decision.collapsed

    def _stage(self, text: str, **progress: int) -> None:
        if self.accelerator.is_main_process:
            self.watcher.stage(text, **progress)

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            self.watcher.say(text)

    def _put_back(self, weights: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])

    def _alike(self, weights: dict[str, Any]) -> dict[str, Any]:
        return {name: alike(value, self.parameters[name]) for name, value in weights.items()}

    def _save(self) -> None:
        state = {
            "weights": {n: p.detach() for n, p in self.parameters.items()},
            "best_weights": self.best_weights,
            "optimizer": self.optimizer.state_dict(),
        }
        self.folder.save({**unsharded(state), "outcome": asdict(self.outcome)})

    def _restore(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self._put_back(self._alike(state["weights"]))
        self.best_weights = self._alike(state["best_weights"])
        parameters = list(self.parameters.values())
        self.optimizer.load_state_dict(optimizer_alike(state["optimizer"], parameters))
        self.outcome = TrainingOutcome.restored(state["outcome"])
        if self.outcome.steps:
            self._say(f"resuming after step {self.outcome.steps} of {self.total}")


def _shuffle(items: Sequence[Any], rng: Random) -> list[Any]:
    """Shuffle the texts, keeping those of a bundle adjacent."""
    bundles: dict[str | int, list[Any]] = {}
    for number, item in enumerate(items):
        bundles.setdefault(item.bundle or number, []).append(item)
    order = list(bundles.values())
    rng.shuffle(order)
    return [item for bundle in order for item in bundle]


def _checkpoint(model: Any) -> None:
    """Enable gradient checkpointing; the pack's plan is still active in the backward pass."""
    # renamed in transformers (about 5.20), which warns about the old name
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)()


def choose_precision(wanted: Precision) -> Precision:
    """Resolve ``auto`` for this machine; on a CPU without AMX, bfloat16 is slower than float32."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"
