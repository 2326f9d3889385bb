"""A teacher: the same distributions as transformers gives, whatever the student's vocabulary."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from galenic.errors import UserError
from galenic.models.layers import read_layout
from galenic.training.activation_cache import FrozenBlocks
from galenic.training.batch import TrainItem, cut_batches
from galenic.training.distill.teacher import Teacher, TokenMap, match_tokens
from galenic.training.learner import Learner
from galenic.training.losses import CrossEntropy, Distillation
from galenic.training.validation import measure, summarize
from training import Texts, load_tiny, make_trainer, some_items

NAMES = ("parent", "pruned")


def plain_items(count: int, length: int = 12, size: int = 200) -> list[TrainItem]:
    rng = np.random.default_rng(count)
    return [TrainItem(tuple(rng.integers(0, size, length).tolist()), 1) for _ in range(count)]


def divergence(
    teacher: Any, student: Any, items: list[TrainItem], ids: np.ndarray | None = None
) -> float:
    """Mean KL by transformers alone, text by text, in float64."""
    teacher, student = copy.deepcopy(teacher), copy.deepcopy(student)
    for model in (teacher, student):
        model.set_attn_implementation("eager")
    total, weight = 0.0, 0.0
    for item in items:
        tokens = torch.tensor([item.tokens[:-1]])
        with torch.no_grad():
            seen = tokens if ids is None else torch.from_numpy(ids)[tokens]
            wanted = teacher(input_ids=seen).logits[0].double()
            wanted = wanted if ids is None else wanted[:, torch.from_numpy(ids)]
            p = torch.log_softmax(wanted, -1)
            q = torch.log_softmax(student(input_ids=tokens).logits[0].double(), -1)
        rows = (p.exp() * (p - q)).sum(-1)[item.start - 1 :]
        total += item.weight * float(rows.mean())
        weight += item.weight
    return total / weight


def fewer_tokens(model: Any, ids: list[int]) -> Any:
    """The model with only these rows of embedding and head."""
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        module.padding_idx = None
        module.weight = torch.nn.Parameter(module.weight.detach()[ids].clone())
    model.config.vocab_size = len(ids)
    return model


def test_the_divergence_is_that_of_transformers(tmp_path: Path) -> None:
    teacher, student = load_tiny(tmp_path / "t"), load_tiny(tmp_path / "s", "mistral")
    items = some_items() + plain_items(4)
    wanted = divergence(teacher, student, items)
    learner = Learner(student, Distillation(Teacher(teacher), alpha=0.3))
    validation = summarize([measure(learner, cut_batches(items, 40))], step=0)
    assert validation.divergence == pytest.approx(wanted, rel=1e-5)
    assert validation.judged == pytest.approx(0.3 * wanted + 0.7 * validation.loss)
    assert validation.loss > 0


def test_without_a_share_no_teacher_is_asked(tmp_path: Path) -> None:
    learner = Learner(load_tiny(tmp_path / "s"), Distillation(None, alpha=0.0))
    (batch,) = cut_batches(some_items(), 999)
    with learner.attending(batch):
        found = learner(batch)
        text = Learner(learner.model, CrossEntropy())(batch)
    assert found.item() == text.item()
    assert summarize([measure(learner, [batch])], step=0).divergence == 0


def test_a_student_of_fewer_tokens(tmp_path: Path) -> None:
    """The teacher reads the student's tokens as its own, and speaks of those that both have."""
    ids = list(range(40, 190, 2))
    teacher = load_tiny(tmp_path / "t")
    student = fewer_tokens(load_tiny(tmp_path / "t"), ids)
    items = plain_items(5, size=len(ids))
    wanted = divergence(teacher, student, items, np.array(ids))
    names = [f"piece{number}" for number in range(int(teacher.config.vocab_size))]
    tokens = match_tokens(names, [names[number] for number in ids], NAMES)
    assert tokens is not None
    objective = Distillation(Teacher(teacher, tokens=tokens), kept=tokens.kept, own=tokens.own)
    validation = summarize([measure(Learner(student, objective), cut_batches(items, 40))], step=0)
    assert wanted < 1e-6  # of what is left, both say the same
    assert validation.divergence == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        student.get_output_embeddings().weight[3] += 0.5
    validation = summarize([measure(Learner(student, objective), cut_batches(items, 40))], step=0)
    wanted = divergence(teacher, student, items, np.array(ids))
    assert wanted > 1e-3
    assert validation.divergence == pytest.approx(wanted, rel=1e-4)


def test_vocabularies_are_matched_by_spelling() -> None:
    assert match_tokens(["a", "b", None], ["a", "b", None], NAMES) is None
    cut = match_tokens(["a", "b", "c", "d"], ["d", "b"], NAMES)
    assert cut is not None
    assert cut.kept.tolist() == [3, 1]
    assert cut.own is None
    twice = match_tokens(["a", "b", "a"], ["a", "b", "a", None], NAMES)
    assert twice is not None
    assert twice.ids.tolist() == [0, 1, 2, -1]
    padded = match_tokens(["a", "b", None], ["a", "b", None, None], NAMES)
    assert padded is not None
    assert padded.ids.tolist() == [0, 1, 2, -1]
    assert padded.own.tolist() == [0, 1, 2]  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"parent does not know 2 of the 3 tokens of pruned.*'x'"):
        match_tokens(["a", "b"], ["x", "a", "y"], NAMES)


def test_padding_that_the_teacher_has_not_is_left_out() -> None:
    (batch,) = cut_batches([TrainItem((0, 1, 2), 1)], 9)
    logits = torch.tensor([[0.5, 1.0, 2.0, 9.0], [0.0, 3.0, 1.0, 9.0]])
    tokens = TokenMap(np.array([0, 1, 2, -1]))
    objective = Distillation(lambda _: logits[:, :3], kept=tokens.kept, own=tokens.own)
    assert float(objective.divergence(logits, batch)) == pytest.approx(0, abs=1e-6)


def test_the_cache_of_all_blocks_changes_nothing(tmp_path: Path) -> None:
    items = plain_items(6)
    batches = cut_batches(items, 40)
    found = []
    for cached in (False, True, True):
        layout = read_layout(load_tiny(tmp_path / "t"))
        layout.model.requires_grad_(False)
        blocks = None
        if cached:
            count = len(layout.blocks)
            blocks = FrozenBlocks(layout, count, tmp_path / "cache", limit=10**6, key="t")
        teacher = Teacher(layout.model, blocks=blocks)
        learner = Learner(load_tiny(tmp_path / "s", "mistral"), Distillation(teacher))
        found.append(summarize([measure(learner, batches)], step=0).divergence)
        computed = blocks.computed if blocks else 0
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == found[1]
    assert computed == 0  # the last one read all of it


@pytest.mark.slow
def test_a_student_comes_closer_and_its_best_weights_are_kept(tmp_path: Path) -> None:
    teacher, student = load_tiny(tmp_path / "t"), load_tiny(tmp_path / "t")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in student.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.05 * parameter.std(correction=0) * noise)
    data = Texts(plain_items(300, 24), plain_items(11))
    before = divergence(teacher, student, data.heldout)
    trainer = make_trainer(
        student,
        tmp_path / "run",
        data=data,
        objective=Distillation(Teacher(load_tiny(tmp_path / "t")), alpha=1.0),
        epochs=2,
        batch_size=8,
        learning_rate=2e-3,
        evaluate_every=15,
    )
    outcome = trainer.run()
    after = divergence(teacher, student, data.heldout)
    assert outcome.best is not None
    assert outcome.validations[0].divergence == pytest.approx(before, rel=1e-4)
    assert outcome.best.divergence == pytest.approx(after, rel=1e-4)
    assert outcome.best.judged == min(validation.judged for validation in outcome.validations)
    assert after < 0.7 * before
    assert "KL to the teacher" in trainer.watcher.said[-1]  # type: ignore[attr-defined]
