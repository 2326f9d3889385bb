"""A real server with the real page and guard, and answers that a test has written."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from galenic.assistant.triage.crisis import calls
from galenic.serve.guard import RequestGuard, error_response
from galenic.serve.notes import NotesRoutes
from galenic.serve.page import page_routes
from galenic.serve.settings import ServeConfig

__all__ = [
    "ABOUT",
    "DONE",
    "FIRST",
    "HOSTILE",
    "NHS",
    "REST",
    "SOURCES",
    "UTI",
    "Scripted",
    "event",
    "finding",
    "passage",
    "played",
    "said",
    "triage",
]

Events = AsyncIterator[bytes]

ABOUT: dict[str, Any] = {
    "version": "0.0.0",
    "model": "tiny",
    "notice": "For education only: no diagnosis, no medical advice, not a medical device.",
    "attribution": ["MedQuAD, US National Institutes of Health, CC BY 4.0"],
    "index": {"passages": 16407, "collections": ["medquad"], "handbook": 200},
    "key_required": False,
    "scores": [
        {
            "benchmark": "pubmedqa",
            "scoring": "letter",
            "n": 500,
            "accuracy": 0.436,
            "low": 0.3932,
            "high": 0.4798,
            "macro_f1": 0.29996,
            "majority": 0.552,
        }
    ],
    "scores_note": "Near the majority baseline a model knows little medicine by itself.",
}


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


UTI = (
    "Burning when I pee and I have to go all the time. Could this be a UTI, how urgent is it to "
    "see a doctor, what should I ask at my appointment?"
)
NHS = {
    "name": "NHS: Urinary tract infections (UTIs)",
    "url": "https://www.nhs.uk/conditions/urinary-tract-infections-utis/",
}
HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
DONE = event("done", seconds=3.24, model="tiny", tokens=0)


def finding(tier: str, reason: str, do: str, *words: str) -> dict[str, Any]:
    return {"id": "x", "tier": tier, "reason": reason, "do": do, "source": NHS, "words": words}


def triage(tier: str, *findings: dict[str, Any], **more: Any) -> bytes:
    empty: dict[str, Any] = {
        "populations": [],
        "people": [],
        "asides": [],
        "notes": [],
        "raised": "",
        "calls": calls(),
    }
    notice = "If you are worried or it gets worse, seek help, whatever stands here."
    return event(
        "triage", **{"tier": tier, "findings": findings, "notice": notice, **empty, **more}
    )


def passage(number: int, title: str, text: str, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "title": title,
        "question": f"What are the symptoms of {title}?",
        "text": text,
        "source": "NIDDK",
        "license": "CC BY 4.0",
        "attribution": "US National Institutes of Health",
        "url": "https://www.niddk.nih.gov/",
        "document": "0000042.xml",
        "place": "answer 3",
        "collection": "medquad",
        **more,
    }


def said(section: str, text: str, *sources: int, **more: Any) -> bytes:
    return event("sentence", section=section, text=text, sources=sources, **more)


BANNER = triage(
    "days",
    finding(
        "days",
        "Burning or frequent urination without fever or back pain suggests a bladder infection.",
        "Arrange to see a doctor or pharmacist in the next days; sooner if it gets worse.",
        "burning when i pee",
        "uti",
    ),
    populations=["pregnant"],
    people=["pregnant (your record: Pregnancy, 28 weeks)"],
    asides=[{"words": "fever", "why": "denied"}],
)
SOURCES = event(
    "sources",
    sources=[
        passage(1, "Bladder infection", "A burning feeling.\n\nA frequent urge.\n" * 40),
        passage(2, "Cystitis", "Most cases are caused by germs. Größer als 38 °C: fever."),
    ],
)
FIRST = (
    BANNER,
    SOURCES,
    said("answer", "A burning feeling when you urinate is a common sign of infection.", 1, 2),
    said("answer", "Drinking water may help.", 2),
    said("watch", "Fever, shivering, or pain in the side or back: the same day.", rule=NHS),
)
REST = (
    said("questions", "Do I need a urine test before treatment?", 1),
    said("questions", "Which of my medicines matter for this?"),
    event("note", kind="guard", text="A sentence with a dose was left out: ask a pharmacist."),
    DONE,
)


class Scripted:
    """The server; a test sets what it answers, and reads what it was asked.

    Attributes:
        play: makes the events of the next answers.
        refuse: status and words with which questions are refused; none = they are answered.
        more: in place of parts of `ABOUT`.
        key: that callers must show; none = no key.
        asked: bodies of the questions.
        refused: how many requests were not taken.
        gate: a script may wait for it; closed at the beginning.
        left: set when a caller has gone before the end of an answer.
    """

    def __init__(self) -> None:
        self.reset()
        routes = [
            *page_routes(),
            Route("/v1/about", self.about),
            Route("/v1/ask", self.ask, methods=["POST"]),
            *NotesRoutes(_CONFIG).routes,
        ]
        app = Starlette(routes=routes, middleware=[Middleware(RequestGuard, config=_CONFIG)])
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, ws="none", lifespan="off", log_level="warning"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.02)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"

    def reset(self) -> None:
        self.play: Callable[[], Events] = lambda: played(DONE)
        self.refuse: tuple[int, str] | None = None
        self.key: str | None = None
        self.more: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.refused = 0
        self.gate = threading.Event()
        self.left = threading.Event()

    async def about(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse({**ABOUT, **self.more})

    async def ask(self, request: Request) -> Response:
        self.asked.append(await request.json())
        refusal = self._refusal(request)
        if refusal is None and self.refuse is not None:
            self.refused += 1
            refusal = error_response(*self.refuse)
        return refusal or StreamingResponse(self.play(), media_type="text/event-stream")

    async def held(self, *before: bytes, after: tuple[bytes, ...] = ()) -> Events:
        """Events, then nothing but comments until the gate opens, then the rest."""
        try:
            for one in before:
                yield one
            while not self.gate.is_set():
                yield b": waiting\n\n"
                await asyncio.sleep(0.03)
            for one in after:
                yield one
        except asyncio.CancelledError:
            self.left.set()
            raise

    def close(self) -> None:
        self.gate.set()
        self.server.should_exit = True
        self.thread.join(20)

    def _refusal(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        self.refused += 1
        return error_response(401, "the API key is missing or wrong", "authentication_error")


async def played(*events: bytes) -> Events:
    for one in events:
        yield one


_CONFIG = ServeConfig.model_validate({"allow_host": "ward3"})
