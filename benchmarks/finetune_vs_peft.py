"""Galenic's training loop against plain transformers ``Trainer`` + peft: same steps, in turns.

    pip install -e '.[train]' -c constraints.txt
    python benchmarks/finetune_vs_peft.py --data DIR --texts 24 --rounds 3

Both learn the same label-only questions (MedQA, MedMCQA, PubMedQA in equal parts) in the same
batches and order, in float32, from the same adapter, with the same optimizer and schedule; each run
is a process of its own, in turns. The peer pads each batch to its longest text, as its collator
does. Two cases: all blocks get adapters; only the top 8 do, where ours keeps what the blocks below
put out on disk and reads it from the second pass on. Timed is the training alone: loading,
tokenizing and saving are left out. CPU seconds are the measure (one thread, so on an idle core they
are the wall time); wall seconds stand beside them. The interval is Student's, over the logarithms
of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SOURCES = ("medqa_4options", "medmcqa", "pubmedqa")
SEED, EPOCHS, MAX_LENGTH = 0, 2, 512
LEARNING_RATE, RANK, ALPHA = 2e-4, 16, 32
TOP_BLOCKS = 8
TOLERANCE = 0.005
"""Largest difference of any step's mean loss, in nats."""
TARGET = 2.0
CASES = {
    "all": ("all blocks", False),
    "top": (f"top {TOP_BLOCKS} blocks, cache", True),
}


@dataclass(frozen=True)
class Job:
    """One run of one side, as its process is told."""

    side: str
    top: bool
    model: str
    data: str
    texts: int
    batch_size: int
    threads: int


def read_items(job: Job) -> tuple[Any, list[Any]]:
    """The model's folder, and so many questions of each source, as tokens."""
    from galenic.models.checkpoint import open_checkpoint
    from galenic.models.encoders.text_encoder import TextEncoder
    from galenic.models.load import resolve_model
    from galenic.training.finetune.items import encode_texts
    from galenic.training.sources import read_training

    checkpoint = open_checkpoint(resolve_model(job.model))
    encoder = TextEncoder(checkpoint.folder, checkpoint.files.kind)
    items: list[Any] = []
    for one in read_training(",".join(SOURCES), Path(job.data)):
        texts = one.texts(seed=SEED, epoch=0)[: job.texts // len(SOURCES)]
        items += encode_texts(texts, encoder, MAX_LENGTH).items
    random.Random(SEED).shuffle(items)
    return checkpoint, items


def prepare(job: Job, checkpoint: Any) -> tuple[Any, Any]:
    """The model with new adapters, by the same library and seed on both sides."""
    import torch

    from galenic.models.layers import read_layout
    from galenic.training.finetune.lora import LoRA

    torch.set_num_threads(job.threads)
    from transformers import AutoModelForCausalLM

    layout = read_layout(
        AutoModelForCausalLM.from_pretrained(checkpoint.folder, dtype=torch.float32)
    )
    method = LoRA(rank=RANK, alpha=ALPHA, top_blocks=TOP_BLOCKS if job.top else None)
    if job.side == "galenic":
        return method.prepare(layout, SEED), layout
    import peft

    blocks = len(layout.blocks)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=[
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ],
        layers_to_transform=list(range(blocks - TOP_BLOCKS, blocks)) if job.top else None,
    )
    torch.manual_seed(SEED)
    return peft.get_peft_model(layout.model, config), layout


class Same:
    """The same questions in each pass; nothing is held out."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.heldout = items, ()

    def epoch(self, _: int) -> list[Any]:
        return list(self.items)


class Silent:
    """A watcher that shows nothing."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...
    def advance(self, done: int, note: str = "") -> None: ...
    def say(self, text: str) -> None: ...
    def keep(self, text: str) -> None: ...


def steps_of(job: Job, items: list[Any]) -> list[list[Any]]:
    """The batches of all passes, in the order in which `galenic.training.loop` has them."""
    steps = []
    for epoch in range(EPOCHS):
        order = list(items)
        random.Random(f"{SEED}-{epoch}").shuffle(order)
        size = job.batch_size
        steps += [order[start : start + size] for start in range(0, len(order), size)]
    return steps


def run_galenic(job: Job, items: list[Any], model: Any, layout: Any) -> Any:
    from galenic.training.activation_cache import FrozenBlocks
    from galenic.training.checkpoints import LOG
    from galenic.training.learner import Learner
    from galenic.training.loop import TrainConfig, Trainer
    from galenic.training.losses import CrossEntropy

    with tempfile.TemporaryDirectory() as folder:
        lower = None
        if job.top:
            count = len(layout.blocks) - TOP_BLOCKS
            lower = FrozenBlocks(layout, count, Path(folder) / "cache", limit=1 << 33, key="x")
        config = TrainConfig(
            learning_rate=LEARNING_RATE,
            epochs=EPOCHS,
            batch_size=job.batch_size,
            batch_tokens=MAX_LENGTH * job.batch_size,
            warmup=0.0,
            checkpoint_every=1 << 20,
            precision="float32",
            seed=SEED,
        )
        trainer = Trainer(
            Learner(model, CrossEntropy(), lower),
            Same(items),
            config,
            Path(folder) / "run",
            fingerprint={},
            watcher=Silent(),
            looks=False,
        )
        spent = timed(trainer.run)
        lines = (Path(folder) / "run" / LOG).read_text(encoding="utf-8").splitlines()
        return *spent, [json.loads(line)["loss"] for line in lines]


def run_peft(job: Job, items: list[Any], model: Any) -> Any:
    import torch
    from transformers import Trainer, TrainingArguments

    losses: list[float] = []

    class Peer(Trainer):  # type: ignore[misc]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            losses.append(float(loss.detach()))
            return loss

        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    def collate(batch: list[Any]) -> dict[str, Any]:
        longest = max(len(item.tokens) for item in batch)
        ids = torch.zeros((len(batch), longest), dtype=torch.int64)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row, item in enumerate(batch):
            tokens = torch.tensor(item.tokens)
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
            labels[row, item.start : len(tokens)] = tokens[item.start :]
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=job.batch_size,
            num_train_epochs=1,  # the passes stand one after the other in the data
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            weight_decay=0.0,
            max_grad_norm=1.0,
            optim="adamw_torch",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=True,
            dataloader_pin_memory=False,
            seed=SEED,
        )
        flat = [item for step in steps_of(job, items) for item in step]
        peer = Peer(model=model, args=arguments, train_dataset=flat, data_collator=collate)
        return *timed(peer.train), losses


def timed(work: Any) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def child(job: Job) -> None:
    """One run; its result goes to standard output as JSON."""
    warnings.simplefilter("ignore")
    checkpoint, items = read_items(job)
    model, layout = prepare(job, checkpoint)
    digest = hashlib.sha256()
    for name, value in model.named_parameters():
        if value.requires_grad:
            digest.update(name.encode() + value.detach().numpy().tobytes())
    if job.side == "galenic":
        wall, cpu, losses = run_galenic(job, items, model, layout)
    else:
        wall, cpu, losses = run_peft(job, items, model)
    lengths = [[len(item.tokens) for item in step] for step in steps_of(job, items)]
    found = {
        "wall": wall,
        "cpu": cpu,
        "losses": losses,
        "adapter": digest.hexdigest(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "tokens": sum(map(sum, lengths)),
        "padded": sum(len(one) * max(one) for one in lengths),
    }
    print(json.dumps(found))


def start(job: Job) -> dict[str, Any]:
    """The same in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(vars(job))],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{job.side} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def interval(ratios: list[float]) -> str:
    """Geometric mean with a 95 % interval."""
    from scipy.stats import t

    logs = [math.log(one) for one in ratios]
    middle = statistics.fmean(logs)
    if len(logs) < 2:
        return f"{math.exp(middle):.2f} (one round: no interval)"
    half = t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(middle):.2f} [{math.exp(middle - half):.2f}, {math.exp(middle + half):.2f}]"


def compare(case: str, rounds: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Print one case."""
    ours, peer = rounds[0]
    if ours["adapter"] != peer["adapter"]:
        sys.exit(f"{case}: the two did not begin with the same adapter")
    worst = max(abs(a - b) for a, b in zip(ours["losses"], peer["losses"], strict=True))
    padding = 1 - peer["tokens"] / peer["padded"]
    print(f"{case}: {len(ours['losses'])} steps, {ours['tokens']:,} tokens of text")
    print(f"  padding, share of the peer's rows: {padding:.0%}")
    for name, place in (("galenic", 0), ("transformers + peft", 1)):
        found = [one[place] for one in rounds]
        seconds = " ".join(f"{one['cpu']:.1f}" for one in found)
        wall = " ".join(f"{one['wall']:.1f}" for one in found)
        peak = max(one["peak"] for one in found) / 1e9
        print(f"  {name:<20} CPU s {seconds}   wall s {wall}   peak RSS {peak:.2f} GB")
    print(f"  loss of the last step: {ours['losses'][-1]:.4f} and {peer['losses'][-1]:.4f};")
    print(f"  largest difference at any step {worst:.2g} (allowed {TOLERANCE})")
    ratios = [b["cpu"] / a["cpu"] for a, b in rounds]
    memory = statistics.fmean(b["peak"] / a["peak"] for a, b in rounds)
    print(f"  ratio of CPU seconds {interval(ratios)}, target {TARGET}; of peak RSS {memory:.2f}")
    if worst > TOLERANCE:
        sys.exit(f"{case}: the losses differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with the data files")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--texts", type=int, default=24, help="questions, of three sources")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", choices=("both", *CASES), default="both")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(Job(**json.loads(given.child)))
        return
    if given.texts % len(SOURCES) or given.texts % given.batch_size:
        parser.error(f"--texts must be a multiple of {len(SOURCES)} and of --batch-size")
    names = ", ".join(f"{n} {version(n)}" for n in ("torch", "transformers", "peft"))
    print(f"{platform.platform()}, Python {platform.python_version()}, {names}")
    print(f"{given.texts} questions of {', '.join(SOURCES)}; {EPOCHS} passes, batches of ", end="")
    print(f"{given.batch_size}; LoRA rank {RANK}; {given.threads} thread(s), float32")
    print(f"load average at the start {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, (case, top) in CASES.items():
        if given.case not in ("both", name):
            continue
        rounds = []
        for number in range(given.rounds):
            own = (top, given.model, given.data, given.texts, given.batch_size, given.threads)
            sides = ("galenic", "peft") if number % 2 == 0 else ("peft", "galenic")
            found = {}
            for side in sides:
                found[side] = start(Job(side, *own))
                print(f"round {number + 1}, {side}: {found[side]['cpu']:.1f} s", file=sys.stderr)
            rounds.append((found["galenic"], found["peft"]))
        compare(case, rounds)


if __name__ == "__main__":
    main()
