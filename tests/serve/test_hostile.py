"""What callers do to keep others out, or to be answered in another's name: each is bounded."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from inside import Inside
from pydantic import ValidationError

from echo import EchoRuntime
from galenic.assistant.triage.triage import triage
from galenic.errors import UserError
from galenic.evaluation.chat import render
from galenic.runtimes.base import Generation, Writing
from galenic.serve.connections import Limits, bounded_protocol, most_connections
from galenic.serve.guard import RequestGuard
from galenic.serve.listen import take_address
from galenic.serve.settings import ServeConfig

pytestmark = pytest.mark.allow_hosts(["127.0.0.1", "::1"])

CHAT = "/v1/chat/completions"
ASK = {"messages": [{"role": "user", "content": "The heart"}], "max_tokens": 8}
HALF = b"POST /v1/ask HTTP/1.1\r\nHost: loc"
KEY = "k" * 20
LOOPS = "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}"


class Slow(EchoRuntime):
    """Writes when it is let, by a template of the test's."""

    def __init__(self, template: str | None = None) -> None:
        super().__init__()
        self.template = template
        self.gate = threading.Event()
        self.gate.set()
        self.fails: BaseException | None = None

    @property
    def chat_template(self) -> str | None:
        return self.template or super().chat_template

    def stream(
        self, prompt: str, how: Writing, should_continue: Callable[[], bool] = lambda: True
    ) -> Generator[str, None, Generation]:
        if self.fails is not None:
            raise self.fails
        yield "so"
        self.gate.wait(60)
        return Generation("so", 1, finished=True)


@pytest.fixture(scope="module")
def runtime() -> Slow:
    return Slow()


@pytest.fixture(scope="module")
def server(runtime: Slow) -> Iterator[Inside]:
    found = Inside(runtime, Limits(12, read_seconds=600), api_key=KEY)
    yield found
    found.close()


def keyed(server: Inside, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    return server.send(path, body, {"Authorization": f"Bearer {KEY}", **headers})


def ended(one: socket.socket) -> bool:
    """Whether the server has closed a connection that it has sent nothing on."""
    one.settimeout(0.5)
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.slow
def test_half_requests_keep_nobody_out(server: Inside, runtime: Slow) -> None:
    runtime.gate.clear()
    chat = json.dumps({**ASK, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    asked = server.connect(f"{head}Content-Length: {len(chat)}\r\n\r\n".encode() + chat)
    assert b"200 OK" in asked.recv(300)
    idle = [server.connect(HALF) for _ in range(40)]
    assert server.send("/health")[0] == 200
    assert keyed(server, "/v1/triage", {"text": "crushing chest pain"})[1]["tier"] == "emergency"
    assert ended(idle[0])  # the oldest made room
    assert not ended(idle[-1])
    runtime.gate.set()
    rest = b""
    asked.settimeout(60)
    while b"[DONE]" not in rest:  # an answer under way is not cut off
        piece = asked.recv(4096)
        assert piece
        rest += piece
    for one in (*idle, asked):
        one.close()


def test_where_all_are_answered_one_more_is_told(runtime: Slow) -> None:
    runtime.gate.clear()
    small = Inside(runtime, Limits(8), max_queue=7)
    chat = json.dumps({**ASK, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(chat)}\r\n\r\n"
    busy = [small.connect(head.encode() + chat) for _ in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("galenic.serve.connections._Bounded.busy", True)
        assert b" 503 " in small.answer()
    runtime.gate.set()
    for one in busy:
        one.close()
    small.close()


def test_who_says_nothing_is_sent_away(runtime: Slow) -> None:
    server = Inside(runtime, Limits(8, read_seconds=0.3))
    assert server.answer() == b""
    answer = server.answer(
        b"POST /v1/triage HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"took too long" in answer
    server.close()


def test_one_other_machine_has_a_quarter() -> None:
    class Transport:
        closed = False

        def __init__(self, address: str) -> None:
            self.address = address

        def get_extra_info(self, name: str) -> Any:
            return (self.address, 5) if name == "peername" else None

        def abort(self) -> None:
            self.closed = True

        def is_closing(self) -> bool:
            return self.closed

    import asyncio

    import uvicorn
    from uvicorn.server import ServerState

    async def main() -> None:
        kind, state = bounded_protocol(Limits(16)), ServerState()
        config = uvicorn.Config("x:y", lifespan="off")
        config.loaded, config.loaded_app = True, None
        config.ws_protocol_class = None
        doors = []
        for address in ["10.0.0.9"] * 4 + ["10.0.0.7"] + ["127.0.0.1"] * 5 + ["10.0.0.9"]:
            doors.append(Transport(address))
            kind(config, state, {}).connection_made(doors[-1])  # type: ignore[arg-type]
        assert [one.closed for one in doors] == [True] + [False] * 10
        for one in state.connections:
            one._unwind()  # type: ignore[union-attr]

    asyncio.run(main())


def test_connections_leave_file_handles_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (128, 128))
    assert 8 <= most_connections(256) < 128 - 48
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 100_000))
    assert most_connections(256) == 256
    config = ServeConfig.model_validate({})
    assert config.fitting(20).max_queue == 13
    assert config.fitting(256).max_queue == 64


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:{port}", "Host": "localhost:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1:{port}.evil.example"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Origin": "http://localhost:1"}, 403),  # another program of this machine
        ({"Origin": "ftp://127.0.0.1:{port}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"}, 403),
    ],
)
def test_pages_of_others_post_nothing(server: Inside, headers: dict[str, str], status: int) -> None:
    sent = {name: value.format(port=server.port) for name, value in headers.items()}
    assert keyed(server, "/v1/triage", {"text": "I have a cold"}, **sent)[0] == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer {KEY}", 200),
        (f"BEARER  {KEY}", 200),
        (KEY, 401),
        (f"Basic {KEY}", 401),
        (f"Bearer{KEY}", 401),
        (f"Bearer Bearer {KEY}", 401),
        ("", 401),
    ],
)
def test_a_key_comes_with_its_scheme(server: Inside, given: str, status: int) -> None:
    assert server.send("/v1/models", headers={"Authorization": given})[0] == status


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
        ({"presence_penalty": -1}, "presence_penalty", "not supported"),
        ({"logprobs": True}, "logprobs", "/v1/completions"),
        ({"top_logprobs": 5}, "top_logprobs", "not supported"),
        ({"logit_bias": {"5": 100}}, "logit_bias", "not supported"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"top_p": 1.5}, "top_p", "less than or equal to 1"),
        ({"n": 3}, "n", "n = 1"),
        ({"min_p": 0.1}, "min_p", "not known"),
        ({"a\nb" * 200: 1}, "", "not known"),
        ({"temperature": 1e-308}, "temperature", "0.001"),
        ({"temperature": -0.5}, "temperature", "greater than or equal to 0"),
        ({"temperature": "1"}, "temperature", "valid number"),
        ({"seed": 2**70}, "seed", "less than"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
    ],
)
def test_settings_are_honoured_or_refused(
    server: Inside, changes: dict[str, Any], param: str, words: str
) -> None:
    status, told = keyed(server, CHAT, {**ASK, **changes})
    assert status == 400
    error = told["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert words in error["message"]
    assert len(error["message"]) < 500
    assert param in error["param"]


@pytest.mark.parametrize(
    "changes",
    [
        {"frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False, "n": 1},
        {"top_p": 1, "temperature": 0.7, "seed": 5, "user": "me", "tools": [], "logit_bias": {}},
        {"model": "echo", "store": False, "tool_choice": "none", "stop": None},
    ],
)
def test_what_changes_nothing_is_taken(server: Inside, changes: dict[str, Any]) -> None:
    status, told = keyed(server, CHAT, {**ASK, **changes})
    assert (status, told.get("error")) == (200, None)


@pytest.mark.parametrize("name", ["gpt-4", "", "ECHO"])
def test_another_model_is_not_here(server: Inside, name: str) -> None:
    status, told = keyed(server, CHAT, {**ASK, "model": name})
    assert status == 404
    assert told["error"]["code"] == "model_not_found"
    assert "echo" in told["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/nothing", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", CHAT, 405),
        ("PUT", "/health", 405),
        ("GET", "/v1/models/gpt-4", 404),
    ],
)
def test_errors_are_json_everywhere(server: Inside, method: str, path: str, status: int) -> None:
    found, told = server.send(path, headers={"Authorization": f"Bearer {KEY}"}, method=method)
    assert found == status
    assert told["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "raw", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nBad Name: x\r\n\r\n"]
)
def test_what_is_no_http_is_told_so_in_json(server: Inside, raw: bytes) -> None:
    answer = server.answer(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"text": "\ud800"}',
        rb'{"text": "a\udc00b"}',
        rb'{"\udfff": "a"}',
        rb'{"text": "a", "answers": {"\ud83d": "yes"}}',
    ],
)
def test_half_a_character_is_refused(server: Inside, raw: bytes) -> None:
    status, told = keyed(server, "/v1/triage", raw)
    assert status == 400
    assert "surrogate" in told["error"]["message"]


@pytest.mark.slow
def test_a_whole_character_by_its_halves_is_taken(server: Inside) -> None:
    assert keyed(server, "/v1/triage", rb'{"text": "a cold \ud83d\ude00 \\ud800"}')[0] == 200


def test_a_text_that_is_given_twice_is_refused(server: Inside) -> None:
    raw = b'{"text": "crushing chest pain", "text": "a cold"}'
    status, told = keyed(server, "/v1/triage", raw)
    assert status == 400
    assert "twice" in json.dumps(told)


@pytest.mark.parametrize("raw", [b'{"temperature": NaN}', b'{"temperature": -Infinity}'])
def test_what_is_no_number_is_no_json(server: Inside, raw: bytes) -> None:
    status, told = keyed(server, CHAT, raw)
    assert status == 400
    assert "not a number" in told["error"]["message"]


def test_a_schema_of_thousands_of_parts_is_refused(server: Inside) -> None:
    schema = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(5000)}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    status, told = keyed(server, CHAT, {**ASK, "response_format": form})
    assert status == 400
    assert "at most 2,000" in told["error"]["message"]


class PanicException(BaseException):
    """As pyo3 raises where a library in Rust panics: no ``Exception``."""


def test_a_panic_of_a_library_ends_the_answer(
    server: Inside, runtime: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "fails", PanicException("secret"))
    assert keyed(server, CHAT, ASK)[0] == 500
    monkeypatch.setattr(runtime, "fails", None)
    assert keyed(server, CHAT, ASK)[0] == 200


@pytest.mark.parametrize("error", [KeyError("secret"), OSError("secret"), UserError("no room")])
def test_whatever_fails_is_told_and_ends(
    server: Inside,
    runtime: Slow,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def answer(*_: Any, **__: Any) -> Iterator[Any]:
        raise error
        yield

    monkeypatch.setattr("galenic.assistant.pipeline.Assistant.answer", answer)
    monkeypatch.setattr(runtime, "fails", error)
    for question in ("I have a cold", "crushing chest pain"):
        status, text = keyed(server, "/v1/ask", {"question": question})
        assert status == 200
        assert text.count("event: ") == 2
        assert "\n\nevent: error\ndata: " in text
        assert "secret" not in text
    status, told = keyed(server, CHAT, ASK)
    assert status == (400 if isinstance(error, UserError) else 500)
    assert "secret" not in json.dumps(told)
    said = capfd.readouterr().err
    assert "secret" not in said
    assert "Traceback" not in said
    assert ("was not answered" in said) == (status == 500)


@pytest.mark.slow
def test_a_template_that_never_ends_holds_up_its_caller_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    render._renderer.close()
    monkeypatch.setattr(render, "TEMPLATE_SECONDS", 0.5)
    server = Inside(Slow(LOOPS))
    found: list[tuple[int, Any]] = []
    asking = threading.Thread(target=lambda: found.append(server.send(CHAT, ASK)))
    asking.start()
    while asking.is_alive():
        assert server.send("/health")[0] == 200
        assert server.send("/v1/triage", {"text": "crushing chest pain"})[0] == 200
        events = server.send("/v1/ask", {"question": "crushing chest pain"})[1]
        assert "event: done" in events
    [(status, told)] = found
    assert status == 400
    assert "chat template" in told["error"]["message"]
    server.close()


@pytest.mark.slow
def test_long_texts_hold_up_no_short_one(server: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slow(text: str, *more: Any, **rest: Any) -> Any:
        if len(text) > 9_000:
            gate.wait(60)
        return triage(text, *more, **rest)

    monkeypatch.setattr("galenic.serve.ask.triage", slow)
    long = {"text": "I have a cold. " * 1000}
    others = [threading.Thread(target=keyed, args=(server, "/v1/triage", long)) for _ in range(8)]
    for one in others:
        one.start()
    assert keyed(server, "/v1/triage", {"text": "crushing chest pain"})[1]["tier"] == "emergency"
    gate.set()
    for one in others:
        one.join()


def test_a_port_in_use_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"another program listens at 127\.0\.0\.1:{port}"):
            take_address(ServeConfig.model_validate({"port": port}))


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "\udcff"])
def test_what_is_no_name_of_a_machine(host: str) -> None:
    with pytest.raises(UserError, match="is not a valid host name"):
        take_address(ServeConfig.model_validate({"host": host, "api_key": KEY}))


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        (f" {KEY}\n", KEY.encode()),
        ("k\u00fcssel" * 3, ("k\u00fcssel" * 3).encode()),
        ("\u00e0" * 16, ("\u00e0" * 16).encode()),
    ],
)
def test_a_key_is_compared_by_its_bytes(key: str, sent: bytes) -> None:
    app: Any = None  # it is not reached
    guard = RequestGuard(app, ServeConfig.model_validate({"api_key": key}))

    def enters(shown: bytes) -> bool:
        headers = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer " + shown)]
        scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": headers}
        return guard._refusal(scope) is None

    assert enters(sent)
    assert not enters(sent[:-1])
    assert not enters(b"")


def test_a_key_of_blanks_is_none() -> None:
    with pytest.raises(ValidationError, match="at least 16"):
        ServeConfig.model_validate({"api_key": " " * 20})


def test_an_address_of_another_machine_is_refused() -> None:
    config = ServeConfig.model_validate({"host": "192.0.2.1", "api_key": KEY})
    with pytest.raises(UserError, match=r"cannot listen at 192\.0\.2\.1:8080"):
        take_address(config)


READY = """
import asyncio, sys
from echo import EchoRuntime
from galenic.serve.app import create_app
from galenic.serve.settings import ServeConfig
from starlette.testclient import TestClient

opened = []
with TestClient(create_app(EchoRuntime(), ServeConfig()), base_url="http://127.0.0.1") as client:
    client.get("/health")
    sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
    client.post("/v1/triage", json={"text": "I have crushing chest pain."}).raise_for_status()
print([name for name in opened if "galenic" in name])
"""


@pytest.mark.slow
def test_the_first_triage_waits_for_no_file() -> None:
    """A busy machine took half a minute to read them as other callers' templates were running."""
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join((tests, *filter(None, [os.environ.get("PYTHONPATH")])))
    done = subprocess.run(
        [sys.executable, "-c", READY],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
