"""Routes for evaluation harnesses: text completions, prompt scores, and tokenization."""

from __future__ import annotations

import asyncio
import json
import os.path
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from galenic.assistant.triage.crisis import Crisis
from galenic.runtimes.base import Generation, Writing
from galenic.runtimes.writing import choose, log_softmax
from galenic.serve.body import check_model, read_body, told
from galenic.serve.crisis import crisis_field, crisis_in
from galenic.serve.lanes import Lanes
from galenic.serve.pieces import Pieces
from galenic.serve.plain_schema import CompletionRequest, DetokenizeRequest, TokenizeRequest
from galenic.serve.said import say_failure
from galenic.serve.scores import Likely, Scorer, likeliest
from galenic.serve.settings import ServeConfig
from galenic.serve.worker import Worker

__all__ = ["PlainRoutes"]

LOOK_SECONDS = 1.0
"""Seconds between two checks whether the caller is still connected."""
ENDS = 100
"""Prompts with a common prefix go to triage as one text if at most this many characters differ."""


@dataclass
class _Text:
    """A prompt and one continuation of it.

    Attributes:
        prompt: the caller's prompt as text.
        tokens: token ids of the prompt, without a start token that the caller did not send.
        num_prompt: number of prompt tokens that the model saw.
        places: scores of the prompt's tokens, then of the new ones; empty if not requested.
        new: token ids of the continuation.
        text: text of the continuation.
        finished: False if ``max_tokens`` ended it.
    """

    prompt: str
    tokens: tuple[int, ...]
    num_prompt: int
    places: list[Likely | None] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    text: str = ""
    finished: bool = False


class PlainRoutes:
    """Routes for completions and tokenization.

    Args:
        worker: the queue in front of the model.
        lanes: thread pools for triage.
        config: limits.
    """

    def __init__(self, worker: Worker, lanes: Lanes, config: ServeConfig) -> None:
        self.worker = worker
        self.lanes = lanes
        self.config = config
        self.pieces = Pieces(worker.runtime)
        self.scorer = Scorer(worker.runtime)
        self.routes = [
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/detokenize", self.detokenize, methods=["POST"]),
            Route("/tokenizer_info", self.tokenizer_info),
        ]

    @told
    async def complete(self, request: Request) -> Response:
        """Continue or score texts, or both; a cry for help is answered in ``galenic.crisis``."""
        asked = await read_body(request, CompletionRequest)
        check_model(asked.model, self.worker.runtime)
        answer: AsyncGenerator[Any, None] = self.worker.run(
            lambda should_continue: self._work(asked, should_continue)
        )
        texts = _gathered(await anext(answer))
        locale = request.headers.get("accept-language", "")
        cry = await self.lanes.read(sum(map(len, texts)), _first_cry, texts, locale)
        first = await _unless_gone(request, answer)
        if first is None:
            return Response(status_code=499)
        if asked.stream:
            events = self._events(asked, cry, first, answer)
            return StreamingResponse(events, media_type="text/event-stream")
        made: list[_Text] = first
        choices = [self._choice(asked, number, one) for number, one in enumerate(made)]
        body = {**self._frame(), "choices": choices, **crisis_field(cry)}
        return JSONResponse({**body, "usage": _usage(made, asked.n)})

    @told
    async def tokenize(self, request: Request) -> Response:
        """Return the token ids of a text."""
        asked = await read_body(request, TokenizeRequest)
        check_model(asked.model, self.worker.runtime)

        def work(_: Callable[[], bool]) -> Iterator[list[int]]:
            tokens = self.pieces.encode(asked.text)
            yield list(self.pieces.with_start(tokens) if asked.special else tokens)

        found = await self._one(work)
        longest = self.worker.runtime.info.context_length
        return JSONResponse({"tokens": found, "count": len(found), "max_model_len": longest})

    @told
    async def detokenize(self, request: Request) -> Response:
        """Return the text of token ids."""
        asked = await read_body(request, DetokenizeRequest)
        check_model(asked.model, self.worker.runtime)

        def work(_: Callable[[], bool]) -> Iterator[str]:
            self.pieces.check(asked.tokens)
            yield self.pieces.text(asked.tokens)

        found = await self._one(work)
        return JSONResponse({"prompt": found, "content": found})

    @told
    async def tokenizer_info(self, _: Request) -> Response:
        """Return the tokenizer facts that lm-evaluation-harness requests before `/tokenize`."""
        runtime = self.worker.runtime
        return JSONResponse(
            {
                "tokenizer_class": "galenic",
                "model_max_length": runtime.info.context_length,
                "bos_token": None,
                "eos_token": None,
                **runtime.special_tokens,
                "chat_template": runtime.chat_template,
            }
        )

    async def _one(self, work: Callable[[Callable[[], bool]], Iterator[Any]]) -> Any:
        answer = self.worker.run(work)
        try:
            return await anext(answer)
        finally:
            await answer.aclose()

    def _work(self, asked: CompletionRequest, should_continue: Callable[[], bool]) -> Iterator[Any]:
        """Yield the prompts, then streamed pieces, then all results; runs in the model's thread."""
        prompts = [self._read(one) for one in asked.prompts]
        yield [one.prompt for one in prompts]
        full = [
            self.pieces.with_start(one.tokens) if asked.add_special_tokens else one.tokens
            for one in prompts
        ]
        top = asked.logprobs or 0
        scored = asked.echo and asked.logprobs is not None
        scores = self.scorer.score(full, top, should_continue) if scored else {}
        made = []
        for prompt, tokens in zip(prompts, full, strict=True):
            for turn in range(asked.n):
                one = _Text(prompt.prompt, prompt.tokens, len(tokens))
                made.append(one)
                if scored:
                    one.places += scores[tokens].places[len(tokens) - len(one.tokens) :]
                if scored and asked.max_tokens == 1:
                    self._next(one, self._how(asked, turn), scores[tokens].after, top)
                elif asked.max_tokens:
                    yield from self._write(one, tokens, asked, turn, should_continue)
        yield made

    def _read(self, prompt: str | list[int]) -> _Text:
        if isinstance(prompt, str):
            return _Text(prompt, self.pieces.encode(prompt), 0)
        self.pieces.check(prompt)
        return _Text(self.pieces.text(prompt), tuple(prompt), 0)

    def _how(self, asked: CompletionRequest, turn: int) -> Writing:
        return Writing(
            max_tokens=min(asked.max_tokens, self.config.max_tokens),
            stop=asked.stops,
            temperature=asked.temperature or 0.0,
            top_p=asked.top_p or 1.0,
            seed=(asked.seed or 0) + turn,
        )

    def _next(self, one: _Text, how: Writing, after: Any, top: int) -> None:
        """Choose one new token from the distribution that scoring the prompt has left."""
        token = choose(after, how.temperature, np.random.default_rng(how.seed), how.top_p)
        one.finished = token in self.worker.runtime.end_tokens
        one.places.append(Likely(float(after[token]), likeliest(after, top)))
        one.new.append(token)
        text = "" if one.finished else self.pieces.text([token])
        cut = min((text.find(mark) for mark in how.stop if mark in text), default=None)
        one.text, one.finished = text[:cut], one.finished or cut is not None

    def _write(
        self,
        one: _Text,
        tokens: tuple[int, ...],
        asked: CompletionRequest,
        turn: int,
        should_continue: Callable[[], bool],
    ) -> Iterator[str]:
        """Continue a prompt; yields pieces of text if streaming is requested."""
        how, top = self._how(asked, turn), asked.logprobs

        def watch(token: int, logits: Any) -> None:
            one.new.append(token)
            if top is not None:
                row = log_softmax(logits)
                one.places.append(Likely(float(row[token]), likeliest(row, top)))

        pieces = self.worker.runtime.stream(tokens, replace(how, watch=watch), should_continue)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as done:
                made: Generation = done.value
                one.text, one.finished = made.text, made.finished
                return
            if asked.stream:
                yield piece

    def _choice(self, asked: CompletionRequest, number: int, one: _Text) -> dict[str, Any]:
        return {
            "text": (one.prompt if asked.echo else "") + one.text,
            "index": number,
            "logprobs": None if asked.logprobs is None else self._logprobs(asked, one),
            "finish_reason": "stop" if one.finished else "length",
        }

    def _logprobs(self, asked: CompletionRequest, one: _Text) -> dict[str, Any]:
        """Log-probabilities in OpenAI's completions format, one entry per returned token."""
        tokens = [*(one.tokens if asked.echo else ()), *one.new]
        begin = 0 if asked.echo else len(one.prompt)
        return {
            "tokens": self.pieces.each(tokens),
            "token_logprobs": [None if place is None else place.log_prob for place in one.places],
            "top_logprobs": [
                None if place is None else self._top(token, place)
                for token, place in zip(tokens, one.places, strict=True)
            ],
            "text_offset": self.pieces.offsets(tokens, begin),
        }

    def _top(self, token: int, place: Likely) -> dict[str, float]:
        """Log-probabilities by text of the top tokens and the actual one; max of equal texts."""
        pairs = [*place.top, (token, place.log_prob)]
        spelled = self.pieces.each([one for one, _ in pairs])
        found: dict[str, float] = {}
        for text, (_, value) in zip(spelled, pairs, strict=True):
            found.setdefault(text, value)
        return found

    def _frame(self) -> dict[str, Any]:
        return {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self.worker.runtime.info.model,
        }

    async def _events(
        self,
        asked: CompletionRequest,
        cry: Crisis | None,
        first: Any,
        answer: AsyncGenerator[Any, None],
    ) -> AsyncIterator[str]:
        """Yield server-sent events; closing the iterator stops the model."""
        frame, piece = {**self._frame(), **crisis_field(cry)}, first

        def event(text: str, reason: str | None, **more: Any) -> str:
            choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
            return f"data: {json.dumps({**frame, 'choices': [choice], **more})}\n\n"

        try:
            while isinstance(piece, str):
                yield event(piece, None)
                piece = await anext(answer)
        except Exception as error:  # noqa: BLE001 - the caller is told that it ended
            say_failure("a completion", error)
            yield 'data: {"error": {"message": "the answer broke off", "type": "server_error"}}\n\n'
            return
        finally:
            await answer.aclose()
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        more = {"usage": _usage(piece, 1)} if usage else {}
        yield event("", "stop" if piece[0].finished else "length", **more)
        yield "data: [DONE]\n\n"


async def _unless_gone(request: Request, answer: AsyncGenerator[Any, None]) -> Any:
    """Return the next result; if the caller disconnects first, stop the work and return None."""
    coming = asyncio.ensure_future(anext(answer))
    while not (await asyncio.wait({coming}, timeout=LOOK_SECONDS))[0]:
        if await request.is_disconnected():
            coming.cancel()
            return None
    return coming.result()


def _usage(made: Sequence[_Text], turns: int) -> dict[str, int]:
    before = sum(one.num_prompt for one in made[::turns])
    after = sum(len(one.new) for one in made)
    return {"prompt_tokens": before, "completion_tokens": after, "total_tokens": before + after}


def _gathered(texts: Sequence[str]) -> list[str]:
    """Remove duplicates, and merge texts with a common prefix into one that contains it once."""
    found: list[str] = []
    before = ""
    for text in sorted(set(texts)):
        shared = len(os.path.commonprefix([before, text]))  # noqa: RUF071
        if found and shared >= len(text) - ENDS:
            found[-1] += "\n" + text[shared:]
        else:
            found.append(text)
        before = text
    return found


def _first_cry(texts: Sequence[str], locale: str) -> Crisis | None:
    return next(filter(None, (crisis_in([text], locale) for text in texts)), None)
