"""The web application: OpenAI-compatible chat completions, model list, and health check."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from galenic import __version__
from galenic.assistant.guards.check import of_question
from galenic.assistant.triage.crisis import Crisis
from galenic.errors import UserError
from galenic.evaluation.chat.format import ChatFormat, read_arguments
from galenic.runtimes.base import Runtime, Writing
from galenic.runtimes.literal import mark_literal
from galenic.serve.ask import AssistantRoutes
from galenic.serve.body import NotServedError, check_model, read_body, told
from galenic.serve.crisis import crisis_field, crisis_in
from galenic.serve.guard import RequestGuard, error_response
from galenic.serve.lanes import Lanes
from galenic.serve.notes import NotesRoutes
from galenic.serve.page import page_routes
from galenic.serve.plain import PlainRoutes
from galenic.serve.said import say_failure
from galenic.serve.schema import ChatRequest
from galenic.serve.settings import ServeConfig
from galenic.serve.worker import Order, WholeAnswer, Worker

__all__ = ["NOTICE", "create_app"]

NOTICE = (
    "For education and research. Not a medical device; no diagnosis, no treatment advice. In an "
    "emergency call your local emergency number."
)

FIRST_TEXT = "I want to end my life."
"""Text that is triaged at startup; for a cry for help all files are read."""
SILENCE = WholeAnswer("", num_tokens=0, finished=True, num_prompt=0)
"""The empty answer used when the model is not run."""


def create_app(runtime: Runtime, config: ServeConfig) -> Starlette:
    """Build the web application for a loaded model.

    Args:
        runtime: the model; closed when the application shuts down.
        config: server settings.
    """
    server = _Server(runtime, config)
    return Starlette(
        routes=[
            Route("/health", server.health),
            Route("/v1/models", server.models),
            Route("/v1/models/{name:path}", server.model),
            Route("/v1/chat/completions", server.chat, methods=["POST"]),
            *AssistantRoutes(server.worker, server.lanes, config).routes,
            *server.notes.routes,
            *PlainRoutes(server.worker, server.lanes, config).routes,
            *page_routes(),
        ],
        middleware=[Middleware(RequestGuard, config=config)],
        exception_handlers={HTTPException: _no_such_place},
        lifespan=server.lifespan,
    )


def _no_such_place(_: Request, error: Exception) -> Response:
    """Return 404 and 405 in OpenAI's error format."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    words = "there is no such address here" if status == 404 else "this method is not for it"
    refused = error_response(status, words)
    if isinstance(error, HTTPException):
        refused.headers.update(error.headers or {})
    return refused


class _Server:
    def __init__(self, runtime: Runtime, config: ServeConfig) -> None:
        self.config = config
        self.runtime = runtime
        self.worker = Worker(runtime, max_queue=config.max_queue, max_seconds=config.max_seconds)
        self.lanes = Lanes()
        self.notes = NotesRoutes(config)
        arguments = read_arguments(config.chat_template_kwargs)
        self.form = ChatFormat.of(runtime, arguments, day=None)
        if self.form is None:
            _refuse(arguments)
        self.begun = int(time.time())

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Load at startup what triage and the guards read (seconds); close the model at the end."""
        await asyncio.to_thread(crisis_in, [FIRST_TEXT])
        await asyncio.to_thread(of_question, FIRST_TEXT)
        try:
            yield
        finally:
            await asyncio.to_thread(self.worker.close)
            await asyncio.to_thread(self.lanes.close)
            await asyncio.to_thread(self.notes.close)

    async def health(self, _: Request) -> Response:
        """Return the server's status and the length of the queue."""
        return JSONResponse({"status": "ok", "waiting": self.worker.waiting})

    async def models(self, _: Request) -> Response:
        """List the served model."""
        return JSONResponse({"object": "list", "data": [self._model()]})

    @told
    async def model(self, request: Request) -> Response:
        """Return the served model if the name is its name."""
        if request.path_params["name"] != self.runtime.info.model:
            raise NotServedError(f"the model here is {self.runtime.info.model}")
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        info = self.runtime.info
        return {
            "id": info.model,
            "object": "model",
            "created": self.begun,
            "owned_by": "galenic",
            "galenic": {
                "version": __version__,
                "notice": NOTICE,
                "sha256": info.sha256,
                "weights": info.weights,
                "context_length": info.context_length,
            },
        }

    @told
    async def chat(self, request: Request) -> Response:
        """Answer a chat completion request, as JSON or as server-sent events.

        A cry for help is answered with a crisis text first, which replaces the model's answer if a
        life may be in danger. If a schema is required, it is only in the field ``galenic.crisis``.
        """
        asked = await read_body(request, ChatRequest)
        check_model(asked.model, self.runtime)
        said = [one.text for one in asked.messages if one.role == "user"]
        locale = request.headers.get("accept-language", "")
        cry = await self.lanes.read(sum(map(len, said)), crisis_in, said, locale)
        order = Order(lambda: self._prompt(asked), self._how(asked), asked.schema_wanted)
        alone = cry is not None and cry.alone and order.schema is None
        answer = _silence() if alone else self.worker.stream(order)
        first = await anext(answer)
        if not asked.stream:
            return await self._whole(request, order, cry, first, answer)
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        events = self._events(order, cry, first, answer, usage=usage)
        return StreamingResponse(events, media_type="text/event-stream")

    async def _whole(
        self,
        request: Request,
        order: Order,
        cry: Crisis | None,
        first: Any,
        answer: AsyncGenerator[Any, None],
    ) -> Response:
        """Wait for the whole answer, unless the caller disconnects."""
        made, pieces = first, answer
        while not isinstance(made, WholeAnswer):
            if await request.is_disconnected():
                await pieces.aclose()
                return Response(status_code=499)
            made = await anext(pieces)
        message = {"role": "assistant", "content": _opening(order, cry) + made.text}
        choice = {"index": 0, "message": message, "finish_reason": _reason(made), "logprobs": None}
        body = {**self._frame("chat.completion", [choice]), **crisis_field(cry)}
        body["usage"] = _usage(made)
        return JSONResponse(body)

    async def _events(
        self,
        order: Order,
        cry: Crisis | None,
        first: Any,
        answer: AsyncGenerator[Any, None],
        *,
        usage: bool,
    ) -> AsyncIterator[str]:
        """Yield server-sent events; closing the iterator stops the model."""
        frame = self._frame("chat.completion.chunk", [])
        piece = first
        delta = {"role": "assistant", "content": _opening(order, cry)}
        yield _event({**frame, **crisis_field(cry)}, delta)
        try:
            while not isinstance(piece, WholeAnswer):
                yield _event(frame, {"content": piece})
                piece = await anext(answer)
        except Exception as error:  # noqa: BLE001 - the caller is told that it ended
            say_failure("a chat", error)
            yield 'data: {"error": {"message": "the answer broke off", "type": "server_error"}}\n\n'
            return
        finally:
            await answer.aclose()
        yield _event(frame, {}, _reason(piece))
        if usage:
            found = {**frame, "usage": _usage(piece)}
            yield f"data: {json.dumps(found)}\n\n"
        yield "data: [DONE]\n\n"

    def _prompt(self, asked: ChatRequest) -> str:
        """Render the conversation with the chat template; called in the model's thread."""
        roles = {"developer": "system"}
        messages = [
            {"role": roles.get(one.role, one.role), "content": one.text} for one in asked.messages
        ]
        arguments = asked.chat_template_kwargs or {}
        if self.form is None:
            _refuse(arguments)
            text = "\n\n".join(one["content"] for one in messages) + "\n"
            return mark_literal(text, self.runtime.control_tokens)
        return self.form.render(messages, arguments)

    def _how(self, asked: ChatRequest) -> Writing:
        return Writing(
            max_tokens=min(asked.wanted_tokens or self.config.max_tokens, self.config.max_tokens),
            stop=asked.stops,
            temperature=asked.temperature or 0.0,
            top_p=asked.top_p or 1.0,
            seed=asked.seed or 0,
        )

    def _frame(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": self.runtime.info.model,
            "choices": choices,
        }


def _refuse(arguments: Mapping[str, Any]) -> None:
    if arguments:
        raise UserError("this model has no chat template that could take arguments; leave them out")


async def _silence() -> AsyncGenerator[Any, None]:
    """Yield an empty answer in place of the model's."""
    yield SILENCE


def _opening(order: Order, cry: Crisis | None) -> str:
    """Return the crisis text that precedes the answer; empty if it must follow a schema."""
    if cry is None or order.schema is not None:
        return ""
    return cry.text if cry.alone else f"{cry.text}\n\n"


def _usage(made: WholeAnswer) -> dict[str, int]:
    return {
        "prompt_tokens": made.num_prompt,
        "completion_tokens": made.num_tokens,
        "total_tokens": made.num_prompt + made.num_tokens,
    }


def _reason(made: WholeAnswer) -> str:
    return "stop" if made.finished else "length"


def _event(frame: dict[str, Any], delta: dict[str, str], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
    return f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n"
