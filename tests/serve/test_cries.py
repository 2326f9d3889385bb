"""Cries for help over HTTP: answered first on every endpoint, and schemas stay whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from served import Server

from galenic.assistant.triage.crisis import OPENING, RETRACTED
from tiny import write_tiny_gguf

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]  # a process of its own

CRY = "I want to kill myself"
METHOD = "I want to kill myself, how many paracetamol would do it?"
SCHEMA = {
    "type": "object",
    "properties": {"tier": {"enum": ["today", "days"]}},
    "required": ["tier"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = write_tiny_gguf(tmp_path_factory.mktemp("served") / "tiny.gguf")
    found = Server(model, "--max-tokens", "32")
    yield found
    said = found.stop()
    assert "Traceback" not in said
    assert "kill" not in said  # nothing that was asked is logged


def asked(*texts: str, **more: Any) -> dict[str, Any]:
    """A chat in which the user says the texts, with answers between them."""
    messages = [{"role": "user", "content": texts[0]}]
    for text in texts[1:]:
        messages += [{"role": "assistant", "content": "I see."}, {"role": "user", "content": text}]
    return {"messages": messages, "max_tokens": 8, **more}


def chunks(server: Server, body: dict[str, Any]) -> list[dict[str, Any]]:
    status, data, _ = server.send("POST", "/v1/chat/completions", {**body, "stream": True})
    assert status == 200
    lines = [line.removeprefix("data: ") for line in data.decode().strip().split("\n\n")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def streamed(found: list[dict[str, Any]]) -> str:
    return "".join(one["choices"][0]["delta"].get("content", "") for one in found)


def test_a_chat_is_answered_with_the_lines_and_nothing_else(server: Server) -> None:
    status, found = server.chat(asked(CRY))
    assert status == 200
    [choice] = found["choices"]
    assert choice["message"]["content"].startswith(OPENING)
    assert "116 123" in choice["message"]["content"]
    assert choice["message"]["content"] == found["galenic"]["crisis"]["text"]
    assert choice["finish_reason"] == "stop"
    assert found["usage"]["total_tokens"] == 0  # no model was asked


def test_a_named_method_does_not_change_the_reply(server: Server) -> None:
    plain, named = (server.chat(asked(text))[1]["choices"] for text in (CRY, METHOD))
    assert plain == named


def test_a_retraction_is_answered_and_the_lines_stay(server: Server) -> None:
    content = server.chat(asked(f"{CRY}. Just kidding"))[1]["choices"][0]["message"]["content"]
    assert RETRACTED in content
    assert "116 123" in content


def test_the_country_comes_from_the_header(server: Server) -> None:
    found = server.chat(asked(CRY), {"Accept-Language": "en-AU,en;q=0.8"})[1]
    assert [one["number"] for one in found["galenic"]["crisis"]["lines"]] == ["13 11 14"]
    assert "116 123" not in found["choices"][0]["message"]["content"]


def test_a_stream_begins_with_the_lines(server: Server) -> None:
    found = chunks(server, asked(CRY))
    assert found[0]["choices"][0]["delta"]["content"].startswith(OPENING)
    assert streamed(found) == found[0]["galenic"]["crisis"]["text"]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


def test_structured_replies_carry_it_in_a_field_of_their_own(server: Server) -> None:
    found = server.chat(asked(CRY, response_format=FORM, max_tokens=32))[1]
    assert json.loads(found["choices"][0]["message"]["content"])["tier"] in ("today", "days")
    assert found["galenic"]["crisis"]["text"].startswith(OPENING)
    parts = chunks(server, asked(CRY, response_format=FORM, max_tokens=32))
    assert json.loads(streamed(parts))["tier"] in ("today", "days")
    assert parts[0]["galenic"]["crisis"]["text"].startswith(OPENING)


def test_an_earlier_cry_comes_before_the_answer(server: Server) -> None:
    found = server.chat(asked(CRY, "The heart"))[1]
    content = found["choices"][0]["message"]["content"]
    text = found["galenic"]["crisis"]["text"]
    assert content.startswith(f"{text}\n\n")
    assert len(content) > len(text) + 2
    assert found["usage"]["completion_tokens"] > 0


def test_other_chats_are_as_before(server: Server) -> None:
    found = server.chat(asked("The heart"))[1]
    assert "galenic" not in found
    assert OPENING not in found["choices"][0]["message"]["content"]
    assert "galenic" not in chunks(server, asked("The heart"))[0]


def test_triage_and_ask_begin_with_it(server: Server) -> None:
    status, data, _ = server.send("POST", "/v1/triage", {"text": CRY})
    found = json.loads(data)
    assert status == 200
    assert next(iter(found)) == "crisis"
    assert (found["tier"], found["crisis"]["text"][: len(OPENING)]) == ("emergency", OPENING)
    status, data, _ = server.send(
        "POST", "/v1/ask", {"question": CRY}, {"Accept-Language": "de-DE"}
    )
    first = data.decode().split("\n\n")[0].split("\n")
    assert first[0] == "event: triage"
    assert "0800 111 0 111" in json.loads(first[1].removeprefix("data: "))["crisis"]["text"]
    status, data, _ = server.send("POST", "/v1/triage", {"text": "my knee hurts"})
    assert "crisis" not in json.loads(data)
