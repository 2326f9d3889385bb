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
        text: the complaint in the user's own words.
        answers: answers (yes, no, not sure) by id to the ``questions`` of an earlier result for
            this text.
        history: earlier messages of the user.
        rules: path of your own rules file; None = Galenic's rules.

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
    entailment_model: Model | None = None,
) -> Answer:
    """Answer a health question from indexed sources.

    Args:
        question: the question in the user's own words.
        context: notes about the user, or a FHIR R4 record as JSON.
        history: earlier messages, oldest first.
        index: path of the passage index; default: the user's own.
        model: model that ranks or writes sentences; default: that of ``galenic ask``.
        style: ``extractive`` or ``written``, as in ``galenic ask --style``.
        entailment_model: folder of a transformers classifier for entailment that also checks what
            is written; only with the style ``written``.

    Raises:
        UserError: the question is empty, or a model or the index cannot be used.
    """
    from galenic.assistant.pipeline import ask as run

    chosen: dict[str, Any] = {} if model is None else {"model": model_name(model)}
    chosen |= {} if style is None else {"style": style}
    if entailment_model is not None:
        chosen["entailment_model"] = model_name(entailment_model)
    own = None if index is None else Path(index)
    reply = run(question, context=context, history=history, index=own, **chosen)
    notes = tuple(note.text for note in reply.notes)
    return Answer(reply.triage, reply.sentences, reply.sources, notes)


def search(
    question: str, k: int = 5, *, index: str | Path | None = None, embeddings: bool = True
) -> list[Passage]:
    """Return the passages that match a question best, best first.

    Args:
        question: the question in the user's own words.
        k: maximum number of passages, 1 to 100.
        index: path of the passage index; default: the user's own.
        embeddings: also rank by embeddings, if the index has them.

    Raises:
        UserError: nothing is indexed, or the index cannot be used.
    """
    from galenic.retrieval.retrieve import search as run

    own = None if index is None else Path(index)
    return run(question, k, path=own, embeddings=embeddings)
