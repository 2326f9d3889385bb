"""Chat templates and requests made up by Hypothesis: refused or answered, within bounded time."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from inside import Inside

from echo import EchoRuntime
from fuzz.test_fuzz import JSON, fuzz, refused_or_taken
from galenic.evaluation.chat.render import render_chat
from galenic.limits import TEMPLATE_OUTPUT

SECONDS = 60
"""By the clock, for one of them, on a busy machine."""
PIECES = (
    "{{ messages }}", "{% for a in messages %}", "{% endfor %}", "{{ a.content }}", "{% if a %}",
    "{% endif %}", "{% for i in range(99999) %}", "{{ 'x' * 10**9 }}", "{{ a ~ a }}", "{{ bos",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "{{ raise_exception('no') }}", "}}",
    "{{ ''.__class__ }}", "{{ messages | tojson }}", "{% set x = 'a' %}", "{# #}", "{{ 9**9**9 }}",
)  # fmt: skip
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/ask", "/v1/triage", "/v1/search")
KEYS = ("messages", "prompt", "text", "question", "model", "stream", "n", "logprobs", "max_tokens")
KEYS += ("temperature", "top_p", "stop", "response_format", "context", "k", "echo", "answers")


@pytest.mark.slow
@fuzz(25)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=9), max_size=6).map("".join))
@example("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}")
def test_templates_end(template: str) -> None:
    def render() -> None:
        found = render_chat(template, [{"role": "user", "content": "Hello"}], {"bos_token": "<s>"})
        assert len(found) <= TEMPLATE_OUTPUT

    begun = time.monotonic()
    refused_or_taken(render)
    assert time.monotonic() - begun < SECONDS


@pytest.fixture(scope="module")
def server() -> Iterator[Inside]:
    one = Inside(EchoRuntime())
    yield one
    one.close()


BODY = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5).map(
    lambda value: json.dumps(value).encode()
)
HEADER = st.tuples(
    st.sampled_from(("Origin", "Host", "Range", "X", "Expect")), st.text(max_size=20)
)


def raw_request(path: str, headers: list[tuple[str, str]], body: bytes, length: int) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Content-Length: {length}", "Connection: close"]
    lines += [] if any(name == "Host" for name, _ in headers) else ["Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


@pytest.mark.allow_hosts(["127.0.0.1"])
@fuzz(60)
@given(
    path=st.sampled_from(PATHS),
    headers=st.lists(HEADER, max_size=2),
    body=BODY | st.binary(max_size=60),
    more=st.sampled_from((0, 0, 0, 1, -1, 10**9)),
)
@example(path="/v1/ask", headers=[], body=b'{"question": "\\ud800"}', more=0)
@example(path="/v1/triage", headers=[("Origin", "null")], body=b"{}", more=0)
@example(path="/v1/chat/completions", headers=[], body=b'{"temperature": 1e-308}', more=0)
def test_requests_are_answered(
    server: Inside, path: str, headers: list[tuple[str, str]], body: bytes, more: int
) -> None:
    raw = raw_request(path, headers, body, max(0, len(body) + more))
    answer = _exchange(server, raw, whole=more <= 0)
    assert not answer or answer.startswith(b"HTTP/1.1 "), answer
    assert answer[9:10] != b"5", answer
    status, _ = server.send("/health")
    assert status == 200


def _exchange(server: Inside, raw: bytes, *, whole: bool) -> bytes:
    """What comes back until the other side closes; a request that is half there is ended."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as one:
        one.sendall(raw)
        if not whole:
            one.shutdown(socket.SHUT_WR)
        found: bytes = b""
        try:
            while piece := one.recv(65536):
                found += piece
        except ConnectionResetError:
            return b""
        return found
