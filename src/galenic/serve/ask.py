"""HTTP routes of the assistant: triage, passage search, and answers as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from galenic import __version__
from galenic.assistant.about import indexed, scores
from galenic.assistant.events import Event, Tier, as_json, passage_json
from galenic.assistant.handbook.load import entries
from galenic.assistant.model import judge_if
from galenic.assistant.pipeline import Assistant, UserQuestion, make_question
from galenic.assistant.triage.crisis import described
from galenic.assistant.triage.triage import NOTICE, Answer, Triage, triage
from galenic.errors import UserError
from galenic.home import index_path
from galenic.retrieval.retrieve import MOST_RESULTS, Passage, open_retriever
from galenic.serve.body import read_body, told
from galenic.serve.lanes import Lanes
from galenic.serve.said import say_failure
from galenic.serve.settings import ServeConfig
from galenic.serve.worker import Busy, Worker

__all__ = ["AssistantRoutes"]

MOST_HISTORY = 50
MOST_ANSWERS = 50
"""Most answers to triage questions in one request."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Ask(_Form):
    question: str
    history: list[str] = Field([], max_length=MOST_HISTORY)
    context: str | None = None
    answers: dict[str, Answer] = Field({}, max_length=MOST_ANSWERS)


class _Triage(_Form):
    text: str
    answers: dict[str, Answer] = Field({}, max_length=MOST_ANSWERS)


class _Search(_Form):
    question: str
    k: int = Field(5, ge=1, le=MOST_RESULTS)


class AssistantRoutes:
    """Routes of the assistant, used by the web page and by other programs.

    Args:
        worker: the queue in front of the model.
        lanes: thread pools for triage.
        config: limits, and how answers are made.
    """

    def __init__(self, worker: Worker, lanes: Lanes, config: ServeConfig) -> None:
        self.worker = worker
        self.lanes = lanes
        self.config = config
        self.assistant = Assistant(
            worker.runtime,
            config.style,
            second_opinion=config.second_opinion,
            judge=judge_if(True, config.entailment_model, config.style),
        )
        self.routes = [
            Route("/v1/about", self.about),
            Route("/v1/ask", self.ask, methods=["POST"]),
            Route("/v1/triage", self.triage, methods=["POST"]),
            Route("/v1/search", self.search, methods=["POST"]),
        ]

    @told
    async def about(self, _: Request) -> Response:
        """Return versions, the contents of the index, and the model's measured scores."""
        collections = await asyncio.to_thread(indexed)
        model = self.worker.runtime.info.model
        rows, note = scores(model)
        return JSONResponse(
            {
                "version": __version__,
                "model": model,
                "notice": NOTICE,
                "attribution": [one.attribution for one in collections if one.attribution],
                "index": {
                    "passages": sum(one.num_passages for one in collections),
                    "collections": [one.name for one in collections],
                    "handbook": await asyncio.to_thread(lambda: len(entries())),
                },
                "key_required": self.config.api_key is not None,
                "scores": rows,
                "scores_note": note,
            }
        )

    @told
    async def triage(self, request: Request) -> Response:
        """Return how soon help is needed, decided by rules only."""
        form = await read_body(request, _Triage)
        return JSONResponse(await self.lanes.read(len(form.text), _read, form, _locale(request)))

    @told
    async def search(self, request: Request) -> Response:
        """Return the passages that match a question."""
        form = await read_body(request, _Search)
        if not index_path().is_file():
            raise UserError("nothing is indexed; see `galenic index`")
        found, note = await asyncio.to_thread(_search, form.question, form.k)
        notes = {"note": note} if note else {}
        return JSONResponse({"passages": [passage_json(one) for one in found], **notes})

    @told
    async def ask(self, request: Request) -> Response:
        """Answer a question: triage is sent immediately, the rest once the model is free."""
        form = await read_body(request, _Ask)
        said = "\n".join([*form.history, form.question])
        size = len(said) + len(form.context or "")
        asked, found, first = await self.lanes.read(size, self._read, form, said, _locale(request))
        if found.tier != "emergency" and self.worker.full:
            raise Busy(f"{Busy.TEXT} By the rules alone: {found.tier}.")
        return StreamingResponse(self._events(asked, found, first), media_type="text/event-stream")

    def _read(
        self, form: _Ask, said: str, locale: str
    ) -> tuple[UserQuestion, Triage, dict[str, Any]]:
        """Return the processed question, its triage, and the triage as JSON data."""
        asked = make_question(form.question, form.history, form.context or "", form.answers)
        found = self.assistant.triage(asked)
        return asked, found, described(found, said, locale)

    async def _events(
        self, asked: UserQuestion, found: Triage, first: dict[str, Any]
    ) -> AsyncIterator[str]:
        """Yield server-sent events; closing the iterator stops the model."""
        yield _message(Tier.name, first)
        answer = self._answer(asked, found)
        try:
            async for event in answer:
                yield _event(event)
        except (UserError, Busy) as error:
            yield _message("error", {"message": str(error)})
        except Exception as error:  # noqa: BLE001 - the caller is told that it ended
            say_failure("/v1/ask", error)
            yield _message("error", {"message": "the answer broke off; ask again"})
        finally:
            await answer.aclose()

    def _answer(self, asked: UserQuestion, found: Triage) -> AsyncGenerator[Event, None]:
        """Yield the events after triage; an emergency skips the queue."""
        if found.tier == "emergency":
            return _at_once(self.assistant.answer(asked, found))
        return self.worker.run(
            lambda should_continue: self.assistant.answer(asked, found, should_continue)
        )


async def _at_once(events: Iterator[Event]) -> AsyncGenerator[Event, None]:
    for event in events:
        yield event


def _locale(request: Request) -> str:
    return request.headers.get("accept-language", "")


def _read(form: _Triage, locale: str) -> dict[str, Any]:
    found = triage(form.text, answers=form.answers)
    return described(found, form.text, locale)


def _search(question: str, k: int) -> tuple[list[Passage], str]:
    with open_retriever() as retriever:
        return retriever.search(question, k), retriever.note


def _event(event: Event) -> str:
    return _message(event.name, as_json(event))


def _message(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
