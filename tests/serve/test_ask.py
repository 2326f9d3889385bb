"""The assistant behind HTTP: events in their order, bounds, and nothing mixed up."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from served import Server

from galenic.assistant.events import Sentence, as_json
from galenic.assistant.handbook.load import entries
from galenic.assistant.model import load_runtime
from galenic.assistant.pipeline import Assistant, make_question
from galenic.assistant.triage.crisis import described
from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.triage import triage
from galenic.retrieval.index import index_folder
from galenic.serve.page import PAGE_PATHS
from tiny import write_tiny_gguf
from watching import Notes

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]  # a process of its own

UTI = "Burning when I pee. Could this be a UTI?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the assistant's with an index, for this process and for servers."""
    home = tmp_path_factory.mktemp("assistant")
    docs = home / "docs"
    docs.mkdir()
    (docs / "uti.md").write_text(
        "# Bladder infection\n\nA UTI makes burning when you pee. Germs often cause a UTI.\n"
    )
    (docs / "knee.md").write_text("# Knees\n\nKnees hurt after long walks on hills.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALENIC_HOME", str(home))
        index_folder(docs, Notes())
        yield home


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("served") / "tiny.gguf")


@pytest.fixture(scope="module")
def server(model: Path, home: Path) -> Iterator[Server]:
    found = Server(model, "--max-bytes", "50000")
    yield found
    said = found.stop()
    assert "Traceback" not in said
    assert "Burning" not in said  # nothing that was asked is logged


def events(server: Server, **body: Any) -> list[tuple[str, Any]]:
    status, data, headers = server.send("POST", "/v1/ask", body)
    assert status == 200, data
    assert headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in data.decode().strip().split("\n\n")]
    return [
        (name.removeprefix("event: "), json.loads(line.removeprefix("data: ")))
        for name, line in blocks
    ]


def test_the_answer_is_that_of_the_assistant(server: Server, model: Path) -> None:
    found = events(server, question=UTI)
    assert found[0] == ("triage", json.loads(json.dumps(described(triage(UTI), UTI))))
    with load_runtime(str(model), threads=1) as runtime:
        asked = make_question(UTI)
        assistant = Assistant(runtime)
        expected = [
            (one.name, json.loads(json.dumps(as_json(one))))
            for one in assistant.answer(asked, assistant.triage(asked))
        ]
    assert found[1:-1] == expected[:-1]
    assert found[-1][0] == "done"
    assert found[-1][1]["model"] == expected[-1][1]["model"]
    assert any(name == "sentence" and one["section"] == "answer" for name, one in found)


def test_an_emergency_is_answered_by_rules_alone(server: Server) -> None:
    found = events(server, question="crushing chest pain and sweating")
    assert [name for name, _ in found] == ["triage", "done"]
    assert found[0][1]["tier"] == "emergency"
    assert found[1][1]["model"] == ""


def test_history_and_context_count(server: Server) -> None:
    history = ["crushing chest pain and sweating"]
    assert events(server, question="and now?", history=history)[0][1]["tier"] == "emergency"
    raised = events(server, question=UTI, context="fever of 39")
    assert raised[0][1]["tier"] == "today"


def test_tier_and_passages_alone(server: Server) -> None:
    status, data, _ = server.send("POST", "/v1/triage", {"text": UTI})
    assert (status, json.loads(data)["tier"]) == (200, "days")
    status, data, _ = server.send("POST", "/v1/search", {"question": "knees", "k": 1})
    assert status == 200
    assert [one["title"] for one in json.loads(data)["passages"]] == ["Knees"]


def test_triage_asks_and_the_next_call_answers(server: Server) -> None:
    body: dict[str, Any] = {"text": "my arm hurts"}
    first = json.loads(server.send("POST", "/v1/triage", body)[1])
    assert (first["tier"], first["final"]) == ("unknown", False)
    assert 2 <= len(first["questions"]) <= 5
    assert first["answers"] == ["yes", "no", "not sure"]
    for one in first["questions"]:
        assert one["text"].endswith("?") and one["reason"] and one["source"]["url"]
    names = [one["id"] for one in first["questions"]]
    for answer, tier in (("no", "unknown"), ("not sure", "today"), ("yes", "emergency")):
        answers = dict.fromkeys(names, answer)
        last = json.loads(server.send("POST", "/v1/triage", {**body, "answers": answers})[1])
        assert (last["tier"], last["questions"], last["final"]) == (tier, [], True)
        assert events(server, question=body["text"], answers=answers)[0] == ("triage", last)
    assert events(server, question=body["text"])[0] == ("triage", first)


def test_what_stands_behind(server: Server, model: Path, home: Path) -> None:
    status, data, _ = server.send("GET", "/v1/about")
    told = json.loads(data)
    assert status == 200
    assert told["model"] == str(model)
    pages = len(entries())
    docs = {"passages": 2, "collections": [str(home / "docs")], "handbook": pages}
    assert told["index"] == docs
    assert "not a medical device" in told["notice"]
    assert told["scores"] == []
    assert "galenic evaluate" in told["scores_note"]


def test_the_page_comes_without_a_key_and_nothing_else_does(model: Path, home: Path) -> None:
    server = Server(model, key="k" * 20)
    for path in PAGE_PATHS:
        status, data, headers = server.send("GET", path)
        assert status == 200
        assert data
        assert "default-src 'none'" in headers["content-security-policy"]
    for path in ("/v1/about", "/page.py", "/app.js/../page.py", "/..%2fapp.py"):
        assert server.send("GET", path)[0] == 401
    server.stop()


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/ask", b"nonsense", 400, "not JSON"),
        ("/v1/ask", b"\xff", 400, "UTF-8"),
        ("/v1/ask", b"{" * 9000, 400, "nested"),
        ("/v1/ask", {}, 400, "question"),
        ("/v1/ask", {"question": 5}, 400, "question"),
        ("/v1/ask", {"question": "  "}, 400, "no question"),
        ("/v1/ask", {"question": "x", "history": ["y"] * 51}, 400, "history"),
        ("/v1/ask", {"question": "x", "context": '{"a": 1}'}, 400, "FHIR"),
        ("/v1/ask", {"question": "x", "context": "asthma\x00"}, 400, "binary"),
        ("/v1/ask", {"question": "x", "path": "/etc/passwd"}, 400, "path"),
        ("/v1/ask", {"question": "x" * 60_000}, 413, "50000"),
        ("/v1/ask", {"question": "x", "answers": {"nothing": "yes"}}, 400, "no question 'nothing'"),
        ("/v1/ask", {"question": "x", "answers": {"any-chest": "maybe"}}, 400, "'not sure'"),
        ("/v1/triage", {"text": None}, 400, "text"),
        ("/v1/triage", {"text": "x", "answers": {"nothing": "no"}}, 400, "no question 'nothing'"),
        ("/v1/triage", {"text": "x", "answers": {"any-chest": True}}, 400, "any-chest"),
        ("/v1/triage", {"text": "x", "answers": ["any-chest"]}, 400, "answers"),
        ("/v1/search", {"question": "x", "k": 0}, 400, "k"),
        ("/v1/search", {"question": "x", "k": 1000}, 400, "k"),
    ],
)
def test_what_cannot_be_answered_is_said(
    server: Server, path: str, body: Any, status: int, message: str
) -> None:
    found, data, _ = server.send("POST", path, body)
    assert found == status
    assert message in json.loads(data)["error"]["message"]


def test_odd_texts_are_only_texts(server: Server) -> None:
    for text in ("\x00\u202e", '" OR 1=1; DROP TABLE passages; --', "../../etc/passwd", "🙂" * 50):
        assert events(server, question=text)[-1][0] == "done"
        assert server.send("POST", "/v1/search", {"question": text})[0] == 200


def test_many_callers_get_their_own_answers(server: Server) -> None:
    found: dict[int, list[tuple[str, Any]]] = {}
    asked = [UTI if at % 2 else f"My knees hurt since day {at}" for at in range(16)]

    def ask(at: int) -> None:
        found[at] = events(server, question=asked[at])

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(asked))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for at, text in enumerate(asked):
        assert found[at][0][1]["tier"] == triage(text).tier
        about = "uti|urin|bladder" if at % 2 else "knee"
        titles = [one["title"] for name, told in found[at] if name == "sources"
                  for one in told["sources"]]  # fmt: skip
        assert all(re.search(about, title.lower()) for title in titles[:1]), titles


def test_a_full_line_still_tells_the_tier(model: Path, home: Path) -> None:
    server = Server(model, "--max-queue", "0", "--max-tokens", "100000")
    long = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 100_000,
            "temperature": 1.5, "stream": True}  # fmt: skip
    data = json.dumps(long).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as busy:
        busy.sendall(f"{head}\r\n\r\n".encode() + data)
        assert b"200 OK" in busy.recv(200)  # the model is at work for somebody else now
        status, told, headers = server.send("POST", "/v1/ask", {"question": UTI})
        emergency = events(server, question="crushing chest pain and sweating")
    server.stop()
    assert status == 429
    assert "days" in json.loads(told)["error"]["message"]
    assert headers["retry-after"]
    assert emergency[0][1]["tier"] == "emergency"


def test_a_sentence_with_a_dated_rule_is_json() -> None:
    rule = Source(name="NHS: Cystitis", url="https://www.nhs.uk/x", seen=date(2026, 11, 2))
    found = json.loads(json.dumps(as_json(Sentence("watch", "Fever.", (), rule))))
    assert found["rule"] == {**rule.model_dump(), "seen": "2026-11-02"}
