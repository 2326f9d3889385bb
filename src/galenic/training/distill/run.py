"""Distillation stage: train a student on its teacher's outputs, and write the student."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.artifact.manifest import check_new
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint
from galenic.models.encoders.text_encoder import TextEncoder
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.training.activation_cache import FrozenBlocks
from galenic.training.config import TrainConfig, TrainOptions
from galenic.training.distill.base import Distiller, DistillJob, HealingText
from galenic.training.distill.config import DistillConfig
from galenic.training.distill.sequence import ANSWERS
from galenic.training.distill.teacher import Teacher, TokenMap, match_tokens
from galenic.training.distributed import check_spread, num_local, rank
from galenic.training.finetune.full import write_model
from galenic.training.finetune.lora import LoRA
from galenic.training.finetune.texts import REMOVED
from galenic.training.learner import Learner
from galenic.training.loop import choose_precision
from galenic.training.losses import Distillation
from galenic.training.run import Tuned, Tuning, resumable, set_threads, tune
from galenic.watcher import SilentWatcher, Watcher

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest

__all__ = ["distill", "heal"]


def distill(config: DistillConfig, method: Distiller, output: Path, watcher: Watcher) -> Tuned:
    """Train a student on its teacher's outputs, and write it with the best weights.

    Args:
        config: student, teacher and texts.
        method: the distillation method with its options.
        output: folder to create.
        watcher: reports progress.

    Raises:
        UserError: the input is invalid (detected before slow work starts), the training diverged,
            or a check of the saved model failed. The state for resuming stays beside the output.
    """
    watcher = watcher if rank() == 0 else SilentWatcher()
    output = output.absolute()
    check_new(output)
    if config.teacher is None:
        raise UserError("name the model to learn from: --teacher MODEL, usually the dense parent.")
    check_spread(_how(method, config.seed))
    sources = method.read(config)
    student, teacher = (_open(name, watcher) for name in (config.model, config.teacher))
    check_new(output, student.num_bytes)
    method.tuner.check(student.shapes)
    tokens = _match(student, teacher) if method.share else None
    set_threads(config.threads)
    with resumable(output) as run:
        job = DistillJob(config, student, teacher, run, watcher)
        texts = method.prepare(job, sources)
        return tune(_tuning(job, method, texts, tokens), output, watcher)


def heal(config: DistillConfig, method: Distiller, output: Path, watcher: Watcher) -> Manifest:
    """Run `distill` as a stage of a recipe, and return the manifest."""
    return distill(config, method, output, watcher).alone


def _open(name: str, watcher: Watcher) -> Checkpoint:
    files = resolve_model(name)
    watcher.stage(f"opening {files.name}")
    return open_model(files)


def _match(student: Checkpoint, teacher: Checkpoint) -> TokenMap | None:
    """Map the student's tokens to the teacher's vocabulary; None if both are the same."""
    names = (teacher.files.name, student.files.name)
    return match_tokens(_pieces(teacher), _pieces(student), names)


def _pieces(checkpoint: Checkpoint) -> list[str | None]:
    size = int(checkpoint.shapes.model.config.vocab_size)
    return TextEncoder(checkpoint.folder, checkpoint.files.kind).pieces(size)


def _tuning(
    job: DistillJob, method: Distiller, texts: HealingText, tokens: TokenMap | None
) -> Tuning:
    """Load both models, and set up the training of the student."""
    student, teacher = job.student, job.teacher.files
    objective = _objective(job, method, tokens)
    job.watcher.stage(f"loading {student.files.name}")
    tuner = method.tuner
    model = tuner.prepare(tuner.load(student), job.config.seed)

    def save(trained: Any, folder: Path) -> dict[str, float]:
        whole = trained if method.rank is None else trained.merge_and_unload(safe_merge=True)
        if isinstance(tuner, LoRA) and tuner.for_type is not None:
            return _save_for_type(whole, folder, job, tuner)
        return write_model(whole, folder, student.folder, student.dtype)

    return Tuning(
        stage="distill",
        method=method,
        options={**method.options, "teacher": teacher.name, "teacher_sha256": teacher.sha256},
        saves="model",
        save=save,
        checkpoint=student,
        learner=Learner(model, objective),
        data=texts.data,
        described=texts.described,
        config=_how(method, job.config.seed),
        run=job.run,
        depends={"teacher": teacher.sha256},
        files=[job.run / name for name in (ANSWERS, REMOVED) if (job.run / name).exists()],
    )


def _save_for_type(trained: Any, folder: Path, job: DistillJob, tuner: LoRA) -> dict[str, float]:
    """Write the model in float32, and report how storing it in the target type will change it."""
    import torch

    from galenic.training.finetune.stored import stored_margins, unrounded

    student, kind = job.student, str(tuner.for_type)
    layout = unrounded(trained, student, tuner.adapted(student.shapes))
    checks = write_model(layout.model, folder, student.folder, torch.float32)
    found = stored_margins(layout, kind, student)
    job.watcher.say(f"stored as {kind} without importance: {found.told()}")
    return checks | found.checks()


def _how(method: Distiller, seed: int) -> TrainConfig:
    options = {name: getattr(method, name) for name in TrainOptions.model_fields}
    return TrainConfig(**options, seed=seed)


def _objective(job: DistillJob, method: Distiller, tokens: TokenMap | None) -> Distillation:
    if not method.share:
        return Distillation(None, alpha=0.0)
    layout, blocks = job.loaded_teacher, None
    if method.cache_gb:
        blocks = FrozenBlocks(
            layout,
            len(layout.blocks),
            job.run / "teacher" / str(rank()),
            limit=int(method.cache_gb * 1e9 / num_local()),
            key=f"{job.teacher.files.sha256}/{choose_precision(method.precision)}",
        )
    return Distillation(
        Teacher(layout.model, tokens=tokens, blocks=blocks),
        temperature=method.temperature,
        alpha=method.share,
        kept=None if tokens is None else tokens.kept,
        own=None if tokens is None else tokens.own,
    )
