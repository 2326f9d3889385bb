"""The server as callers meet it: a real process, the real openai client, and raw requests."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Server

from galenic.cli.failure import TERMINATED
from galenic.errors import UserError
from galenic.evaluation.chat.render import render_chat
from galenic.models.load import resolve_model
from galenic.runtimes.base import Writing
from galenic.runtimes.llama import LlamaRuntime
from galenic.serve.settings import ServeConfig, is_loopback
from tiny import write_tiny_gguf

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1", "::1"]), pytest.mark.slow]

ASK = {"messages": [{"role": "user", "content": "The heart"}], "max_tokens": 8}


SCHEMA = {
    "type": "object",
    "properties": {"tier": {"enum": ["today", "days"]}, "sure": {"type": "boolean"}},
    "required": ["tier", "sure"],
    "additionalProperties": False,
}


def schema_form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}


def written(runtime: LlamaRuntime, question: str) -> str:
    """What the runtime writes to a question by itself."""
    assert runtime.chat_template is not None
    talk = [{"role": "user", "content": question}]
    prompt = render_chat(runtime.chat_template, talk, runtime.special_tokens)
    return runtime.generate(prompt, Writing(max_tokens=8)).text


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("served") / "tiny.gguf")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    found = Server(model, "--max-tokens", "64", "--max-bytes", "20000")
    yield found
    said = found.stop()
    assert found.process.returncode == TERMINATED  # SIGTERM cleans up as Ctrl-C does
    assert "Traceback" not in said
    assert "The heart" not in said  # nothing that was asked is logged


@pytest.fixture(scope="module")
def expected(model: Path) -> str:
    with LlamaRuntime(resolve_model(str(model)), threads=1) as runtime:
        return written(runtime, "The heart")


def test_an_answer_is_what_the_runtime_writes(server: Server, expected: str) -> None:
    status, found = server.chat(ASK)
    assert status == 200
    assert found["object"] == "chat.completion"
    [choice] = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected}
    assert choice["finish_reason"] in ("length", "stop")
    usage = found["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] <= 8


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_can_follow_a_schema(server: Server, temperature: float) -> None:
    body = {**ASK, "max_tokens": 60, "temperature": temperature}
    status, found = server.chat({**body, "response_format": schema_form(SCHEMA)})
    assert status == 200, found
    [choice] = found["choices"]
    assert choice["finish_reason"] == "stop"
    told = json.loads(choice["message"]["content"])
    assert told["tier"] in ("today", "days")
    assert isinstance(told["sure"], bool)
    assert set(told) == {"tier", "sure"}


def test_the_openai_client_reads_it(server: Server, model: Path, expected: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none")
    assert [one.id for one in client.models.list()] == [str(model)]
    whole = client.chat.completions.create(model=str(model), **ASK)
    assert whole.choices[0].message.content == expected
    pieces = list(
        client.chat.completions.create(
            model=str(model), stream=True, stream_options={"include_usage": True}, **ASK
        )
    )
    text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    assert text == expected
    assert pieces[-1].usage.completion_tokens <= 8
    with pytest.raises(openai.BadRequestError, match="n = 1"):
        client.chat.completions.create(model=str(model), n=2, **ASK)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"not json", 400, "not JSON"),
        (b"\xff\xfe", 400, "UTF-8"),
        (b"[" * 5000 + b"]" * 5000, 400, "nested deeper"),
        (b"{}", 400, "messages"),
        (b"", 400, "not JSON"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "role"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "content"),
        ({**ASK, "temperature": 9}, 400, "temperature"),
        ({**ASK, "max_tokens": 0}, 400, "max_tokens"),
        ({**ASK, "stop": [""]}, 400, "stop"),
        ({**ASK, "tools": [{"type": "function"}]}, 400, "tools"),
        ({**ASK, "response_format": {"type": "xml"}}, 400, "response_format"),
        ({**ASK, "response_format": {"type": "json_schema"}}, 400, "json_schema.schema"),
        ({**ASK, "response_format": schema_form({"type": "strin"})}, 400, "schema"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, 400, "context"),
        (b"x" * 30_000, 413, "20000 bytes"),
    ],
)
def test_what_cannot_be_answered_is_said(
    server: Server, body: Any, status: int, message: str
) -> None:
    found, told = server.chat(body)
    assert found == status
    assert message in told["error"]["message"]
    assert "Traceback" not in json.dumps(told)


def test_other_paths_and_methods_are_not_there(server: Server) -> None:
    assert server.send("GET", "/v1/chat/completions")[0] == 405
    assert server.send("GET", "/../../etc/passwd")[0] == 404
    assert server.send("GET", "/v1/models/other")[0] == 404


def test_only_its_own_names_are_answered(server: Server) -> None:
    for host in ("evil.example", "evil.example:80", f"127.0.0.1.evil.example:{server.port}", ""):
        assert server.send("GET", "/v1/models", headers={"Host": host})[0] == 421
    for host in ("localhost", f"LOCALHOST:{server.port}", f"[::1]:{server.port}"):
        assert server.send("GET", "/v1/models", headers={"Host": host})[0] == 200


def test_answers_carry_a_strict_policy_and_no_cors(server: Server) -> None:
    headers = {"Origin": "https://evil.example"}
    for path in ("/health", "/nothing", "/v1/models"):
        _, _, found = server.send("GET", path, headers=headers)
        assert "default-src 'none'" in found["content-security-policy"]
        assert found["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in found
        assert "server" not in found
    assert server.send("OPTIONS", "/v1/chat/completions", headers=headers)[0] == 405


def test_a_chunked_body_is_bounded_too(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        one.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(40):
                one.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            one.sendall(b"0\r\n\r\n")
            answer = one.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            answer = b"413"
        assert b"413" in answer


def test_many_callers_get_their_own_answers_and_too_many_are_told(model: Path) -> None:
    server = Server(model, "--max-queue", "4")
    prompts = [f"Patient number {i} has" for i in range(24)]
    with LlamaRuntime(resolve_model(str(model)), threads=1) as runtime:
        alone = [written(runtime, prompt) for prompt in prompts]
    found: dict[int, tuple[int, Any]] = {}

    def ask(i: int) -> None:
        body = {"messages": [{"role": "user", "content": prompts[i]}], "max_tokens": 8}
        found[i] = server.chat(body)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(prompts))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    said = server.stop()
    assert "Traceback" not in said
    assert set(found) == set(range(len(prompts)))
    answered = [i for i, (status, _) in found.items() if status == 200]
    refused = [told for status, told in found.values() if status == 429]
    assert len(answered) >= 5
    assert len(answered) + len(refused) == len(prompts)
    for i in answered:
        assert found[i][1]["choices"][0]["message"]["content"] == alone[i]


def test_a_caller_who_leaves_frees_the_model(model: Path, expected: str) -> None:
    server = Server(model, "--max-tokens", "100000")
    long = {**ASK, "max_tokens": 100_000, "temperature": 1.5, "stream": True}
    data = json.dumps(long).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        one.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        assert b"200 OK" in one.recv(200)
    status, found = server.chat(ASK)
    assert status == 200
    assert found["choices"][0]["message"]["content"] == expected
    server.stop()


def test_a_key_is_asked_for(model: Path) -> None:
    key = "k" * 20
    server = Server(model, key=key)
    assert server.chat(ASK)[0] == 401
    assert server.chat(ASK, {"Authorization": "Bearer wrong"})[0] == 401
    assert server.chat(ASK, {"Authorization": f"Bearer {key}"})[0] == 200
    assert server.send("GET", "/health")[0] == 200
    assert key not in server.stop()


def test_other_machines_are_let_in_only_with_a_key() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "ward3"):
        assert not is_loopback(host)
        with pytest.raises(UserError, match="GALENIC_API_KEY"):
            ServeConfig.model_validate({"host": host})
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert is_loopback(host)
    open_one = {"host": "0.0.0.0", "api_key": "k" * 16, "allow_host": "Ward3, x"}
    assert {"ward3", "x", "localhost"} <= ServeConfig.model_validate(open_one).hosts
