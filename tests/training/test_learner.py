"""The packed loss against texts computed one by one, by hand and by transformers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from galenic.training.batch import AnswerOption, TrainItem, cut_batches
from galenic.training.learner import Learner
from galenic.training.losses import CrossEntropy, Distillation
from galenic.training.validation import measure
from tiny_hf import FAMILIES
from training import load_tiny, some_items


def packed_loss(learner: Learner, items: list[TrainItem], most: int = 10_000) -> torch.Tensor:
    total = torch.zeros(())
    for batch in cut_batches(items, most):
        with learner.attending(batch):
            total = total + learner(batch)
    return total


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_each_text_alone(tmp_path: Path, family: str) -> None:
    items = [TrainItem(tuple(item.tokens), 2, item.weight) for item in some_items(6)]
    plain = load_tiny(tmp_path, family)
    wanted = 0.0
    for item in items:
        tokens = torch.tensor([item.tokens])
        labels = tokens.clone()
        labels[0, : item.start] = -100
        wanted += item.weight * plain(input_ids=tokens, labels=labels).loss.item()
    found = packed_loss(Learner(load_tiny(tmp_path, family), CrossEntropy()), items).item()
    assert found == pytest.approx(wanted, rel=1e-4)


def test_the_gradient_is_that_of_each_text_alone(tmp_path: Path) -> None:
    items = some_items(6)
    plain, model = load_tiny(tmp_path), load_tiny(tmp_path)
    for item in items:
        tokens = torch.tensor([item.tokens])
        labels = torch.full_like(tokens, -100)
        labels[0, item.start :] = tokens[0, item.start :]
        (item.weight * plain(input_ids=tokens, labels=labels).loss).backward()
    learner = Learner(model, CrossEntropy())
    (batch,) = cut_batches(items, 10_000)
    assert len(batch.pack.tokens) < batch.pack.num_asked  # beginnings are shared
    with learner.attending(batch):
        learner(batch).backward()
    for (name, one), two in zip(plain.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, rtol=2e-3, atol=2e-4, msg=name)


def test_the_label_loss_by_hand(tmp_path: Path) -> None:
    """Only the answer's token counts: -log softmax at the last token of the prompt, in float64."""
    items = some_items(5)
    model = load_tiny(tmp_path)
    wanted = 0.0
    for item in items:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([item.tokens[:-1]])).logits[0, -1]
        row = logits.double().numpy()
        row = row - row.max()
        wanted -= item.weight * (row[item.tokens[-1]] - np.log(np.exp(row).sum()))
    found = packed_loss(Learner(model, CrossEntropy()), items)
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_batches_are_cut_by_tokens_and_keep_the_order() -> None:
    items = some_items(10)
    batches = cut_batches(items, 25)
    assert [item for batch in batches for item in batch.items] == items
    assert all(batch.pack.num_asked <= 25 for batch in batches)
    assert [len(batch.items) for batch in cut_batches(items, 1)] == [1] * 10
    assert sum(batch.weight for batch in batches) == pytest.approx(sum(i.weight for i in items))


def test_batches_give_the_same_loss_as_one(tmp_path: Path) -> None:
    learner = Learner(load_tiny(tmp_path), CrossEntropy())
    whole = packed_loss(learner, some_items()).item()
    assert packed_loss(learner, some_items(), 20).item() == pytest.approx(whole, rel=1e-5)


def test_a_teacher_has_nothing_to_teach_itself(tmp_path: Path) -> None:
    teacher = Learner(load_tiny(tmp_path), CrossEntropy())
    student = Learner(load_tiny(tmp_path), Distillation(teacher.logits, temperature=2.0, alpha=1.0))
    loss = packed_loss(student, some_items())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    gradients = [p.grad for p in student.model.parameters() if p.grad is not None]
    assert gradients
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-4


def test_distillation_by_hand() -> None:
    items = [TrainItem((1, 2, 3), 1, weight=2.0)]
    (batch,) = cut_batches(items, 10)
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 4, generator=generator) for _ in range(2))
    kept, temperature, alpha = torch.tensor([0, 1, 2, 3]), 3.0, 0.3
    wanted = 0.0
    for row, target in enumerate((2, 3)):
        p = np.exp(teacher[row].double().numpy() / temperature)
        q = np.exp(student[row].double().numpy() / temperature)
        p, q = p / p.sum(), q / q.sum()
        plain = np.exp(student[row].double().numpy())
        wanted += alpha * temperature**2 * (p * np.log(p / q)).sum()
        wanted -= (1 - alpha) * np.log(plain[target] / plain.sum())
    objective = Distillation(
        lambda _: torch.cat([teacher, torch.full((2, 1), 9.0)], dim=1),
        temperature=temperature,
        alpha=alpha,
        kept=kept,
    )
    assert float(objective(student, batch)) == pytest.approx(2.0 * wanted / 2, rel=1e-5)


def test_a_model_that_cannot_be_packed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galenic.errors import UserError
    from galenic.training import learner

    monkeypatch.setattr(learner, "_use_attention", lambda model, name: None)
    with pytest.raises(UserError, match="cannot be trained here"):
        Learner(load_tiny(tmp_path), CrossEntropy())


@pytest.mark.parametrize(("start", "weight"), [(0, 1.0), (3, 1.0), (1, 0.0)])
def test_items_without_anything_to_learn_are_refused(start: int, weight: float) -> None:
    with pytest.raises(ValueError, match=r"start|weight"):
        TrainItem((1, 2, 3), start, weight)


def ranked_items() -> list[TrainItem]:
    """Questions with two or three options of other lengths, one of which begins like another."""
    options = (
        AnswerOption("A", (60, 61), 5),
        AnswerOption("B", (60,), 2),
        AnswerOption("C", (70, 71, 72), 11),
    )
    stems = [tuple(range(5, 9 + i)) for i in range(4)]
    return [
        TrainItem(
            (*stem, *options[i % 2].tokens),
            len(stem),
            weight=1.0 + i,
            group="toy",
            gold="AB"[i % 2],
            options=options[: 2 + i % 2],
        )
        for i, stem in enumerate(stems)
    ]


def scores_alone(model: Any, item: TrainItem) -> np.ndarray:
    """Log-likelihood per byte of each option, computed in float64 from texts one by one."""
    found = []
    for option in item.options:
        tokens = (*item.tokens[: item.start], *option.tokens)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0].double().numpy()
        total = 0.0
        for place in range(item.start, len(tokens)):
            row = logits[place - 1]
            total += row[tokens[place]] - row.max() - np.log(np.exp(row - row.max()).sum())
        found.append(total / option.num_bytes)
    return np.array(found)


@pytest.mark.parametrize(("most", "scale"), [(10_000, 3.0), (20, 3.0), (20, 0.7)])
def test_the_loss_of_options_is_that_of_the_right_one_among_them(
    tmp_path: Path, most: int, scale: float
) -> None:
    model = load_tiny(tmp_path)
    plain = some_items(3)
    ranked = [replace(item, scale=scale) for item in ranked_items()]
    items = [*ranked[:2], plain[0], *ranked[2:], *plain[1:]]
    wanted = packed_loss(Learner(load_tiny(tmp_path), CrossEntropy()), plain).item()
    for item in ranked_items():
        scores = np.exp(scale * scores_alone(model, item))
        gold = [option.label for option in item.options].index(item.gold)
        wanted -= item.weight * np.log(scores[gold] / scores.sum())
    learner = Learner(model, CrossEntropy())
    found = packed_loss(learner, items, most)
    assert found.item() == pytest.approx(wanted, rel=1e-4)
    tally = measure(learner, cut_batches(items, most))
    assert tally.loss == pytest.approx(wanted, rel=1e-4)
    batches = cut_batches(items, most)
    assert sum(batch.weight for batch in batches) == pytest.approx(sum(i.weight for i in items))


def test_what_is_kept_costs_its_distance_from_the_untuned_model(tmp_path: Path) -> None:
    """KL of the options' softmax to the untuned one's, by texts one by one in float64."""
    torch.manual_seed(0)
    untuned, model = load_tiny(tmp_path), load_tiny(tmp_path)
    before = Learner(untuned, CrossEntropy())

    def logits(batch: Any) -> Any:
        with before.attending(batch):
            return before.logits(batch)

    learner = Learner(model, CrossEntropy(logits))
    kept = [replace(item, kept=True, scale=2.0) for item in ranked_items()[:2]]
    assert packed_loss(learner, kept).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    items = [kept[0], *ranked_items()[2:], kept[1], *some_items(1)]
    wanted = packed_loss(learner, [items[1], items[2], items[4]]).item()
    plain = load_tiny(tmp_path)
    changed = load_tiny(tmp_path)
    changed.load_state_dict(model.state_dict())
    for item in kept:
        old, new = (2.0 * scores_alone(one, item) for one in (plain, changed))
        old, new = (one - np.log(np.exp(one).sum()) for one in (old, new))
        wanted += item.weight * float(np.exp(old) @ (old - new))
    assert packed_loss(learner, items).item() == pytest.approx(wanted, rel=1e-4)
    assert packed_loss(learner, items, 20).item() == pytest.approx(wanted, rel=1e-4)


def test_nothing_is_kept_without_an_untuned_model(tmp_path: Path) -> None:
    learner = Learner(load_tiny(tmp_path), CrossEntropy())
    with pytest.raises(ValueError, match="no untuned model"):
        packed_loss(learner, [replace(ranked_items()[0], kept=True)])


def test_the_answer_among_options_is_the_likeliest_per_byte(tmp_path: Path) -> None:
    model = load_tiny(tmp_path)
    items = ranked_items()
    wanted = [item.options[int(scores_alone(model, item).argmax())].label for item in items]
    tally = measure(Learner(model, CrossEntropy()), cut_batches(items, 10_000))
    counts: Counter[tuple[str, str]] = Counter()
    for (_, label, gold), count in tally.answers.items():
        counts[label, gold] += count
    assert counts == Counter(zip(wanted, [item.gold for item in items], strict=True))


def test_a_model_learns_to_prefer_an_option(tmp_path: Path) -> None:
    items = ranked_items()
    learner = Learner(load_tiny(tmp_path), CrossEntropy())
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        packed_loss(learner, items).backward()
        optimizer.step()
    tally = measure(learner, cut_batches(items, 10_000))
    assert all(label == gold for _, label, gold in tally.answers)
