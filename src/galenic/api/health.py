"""Health questions: how soon help is needed, passages, answers. No diagnosis, no medical advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.api.given import Model, model_name
from galenic.api.results import Answer

if TYPE_CHECKING:
    from galenic.assistant.triage.result import Triage
    from galenic.retrieval.retrieve import Passage

__all__ = ["ask", "search", "triage"]


def triage(
    text: str,
    *,
    answers: Mapping[str, Any] | None = None,
    history: Sequence[str] = (),
    rules: str | Path | None = None,
) -> Triage:
    """Say how soon help is needed: ``tier`` is emergency, today, days, self-care, or unknown.

    Args:
        text: in a person's own words.
        answers: to ``questions`` of an earlier result for this text: id to yes, no, not sure.
        history: earlier messages.
        rules: a rules file of one's own; None = Galenic's.

    Raises:
        UserError: the text or the rules cannot be used.
    """
    from galenic.assistant.triage.triage import triage as run

    own = None if rules is None else Path(rules)
    return run(text, own, history=history, answers=answers)


def ask(
    question: str,
    *,
    context: str = "",
    history: Sequence[str] = (),
    index: str | Path | None = None,
    model: Model | None = None,
    style: str | None = None,
) -> Answer:
    """Answer a health question from sources.

    Args:
        question: in a person's own words.
        context: notes, or a FHIR R4 record as JSON.
        history: what was said before, oldest first.
        index: of passages; default: the user's own.
        model: that orders or writes; default: the one of ``galenic ask``.
        style: as ``galenic ask --style``; default: that command's.

    Raises:
        UserError: nothing is asked, or the model or the index cannot be used.
    """
    from galenic.assistant.pipeline import ask as run

    chosen: dict[str, Any] = {} if model is None else {"model": model_name(model)}
    chosen |= {} if style is None else {"style": style}
    own = None if index is None else Path(index)
    reply = run(question, context=context, history=history, index=own, **chosen)
    notes = tuple(note.text for note in reply.notes)
    return Answer(reply.triage, reply.sentences, reply.sources, notes)


def search(
    question: str, k: int = 5, *, index: str | Path | None = None, embeddings: bool = True
) -> list[Passage]:
    """The passages that fit a question best, best first.

    Args:
        question: in a person's own words.
        k: at most so many, 1 to 100.
        index: of passages; default: the user's own.
        embeddings: use the vectors of passages, where the index has them.

    Raises:
        UserError: nothing is indexed, or the index cannot be used.
    """
    from galenic.retrieval.retrieve import search as run

    own = None if index is None else Path(index)
    return run(question, k, path=own, embeddings=embeddings)
