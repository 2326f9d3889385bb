"""A model for entailment of the user: from Python, in the server, and when it is not loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from inside import Inside
from typer.testing import CliRunner

import galenic
from echo import EchoRuntime
from galenic.assistant.answer.write import UNSOURCED
from galenic.cli.main import app
from galenic.errors import UserError
from galenic.models.encoders import entailment
from galenic.serve.app import create_app
from galenic.serve.settings import ServeConfig
from tiny_encoder import write_judge

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

GOUT = "What is gout?"
CLAIM = "Gout is a sudden attack on joints."
"""No sentence of the handbook in other order; only a model for entailment lets it pass."""
EMERGENCY = "crushing chest pain and sweating"
LABELS = {0: "contradiction", 1: "neutral", 2: "entailment"}


@pytest.fixture(scope="module")
def says_yes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judge(tmp_path_factory.mktemp("yes") / "nli", LABELS, always=(0.0, 0.0, 9.0))


@pytest.fixture(scope="module")
def says_no(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judge(tmp_path_factory.mktemp("no") / "nli", LABELS, always=(9.0, 0.0, 0.0))


@pytest.fixture(autouse=True)
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A model that writes the claim, in place of any other."""
    runtime = nullcontext(EchoRuntime(answer=CLAIM))
    monkeypatch.setattr("galenic.assistant.pipeline.runtime_if", lambda *_: runtime)
    yield


def refuse(*_: object) -> object:
    raise AssertionError("the model for entailment was loaded")


def texts(answer: galenic.Answer) -> list[str]:
    return [one.text for one in answer.sentences]


@pytest.mark.slow
def test_it_counts_in_python(says_yes: Path, says_no: Path) -> None:
    alone = galenic.ask(GOUT, style="written")
    assert CLAIM not in texts(alone)
    assert UNSOURCED in alone.notes
    assert CLAIM in texts(galenic.ask(GOUT, style="written", entailment_model=says_yes))
    assert CLAIM not in texts(galenic.ask(GOUT, style="written", entailment_model=says_no))


def test_it_counts_in_the_server(says_yes: Path, says_no: Path) -> None:
    for judge, shown in ((None, False), (says_yes, True), (says_no, False)):
        named = {} if judge is None else {"entailment_model": str(judge)}
        server = Inside(EchoRuntime(answer=CLAIM), style="written", **named)
        try:
            status, said = server.send("/v1/ask", {"question": GOUT})
        finally:
            server.close()
        assert status == 200
        assert (json.dumps(CLAIM) in said) is shown


def test_it_is_not_loaded_where_nothing_is_written(
    says_yes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entailment, "load_entailment_model", refuse)
    assert galenic.triage(GOUT)
    assert galenic.ask(GOUT).sentences
    found = galenic.ask(EMERGENCY, style="written", entailment_model=says_yes)
    assert found.tier == "emergency"
    with pytest.raises(AssertionError, match="was loaded"):
        galenic.ask(GOUT, style="written", entailment_model=says_yes)


@pytest.mark.parametrize("question", [GOUT, EMERGENCY])
def test_it_needs_a_model_that_writes(says_yes: Path, question: str) -> None:
    with pytest.raises(UserError, match="needs the style `written`"):
        galenic.ask(question, entailment_model=says_yes)
    with pytest.raises(UserError, match="needs the style `written`"):
        create_app(EchoRuntime(), ServeConfig(entailment_model=str(says_yes)))


def test_the_command_says_so_before_it_loads_anything() -> None:
    given = ["serve", "--model", "no-such-model", "--entailment-model", "nli"]
    failed = CliRunner().invoke(app, given).exception
    assert isinstance(failed, UserError)
    assert "needs the style `written`" in str(failed)


def test_a_path_that_is_none_is_said_at_once(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="there is no file or folder"):
        galenic.ask(GOUT, style="written", entailment_model=nowhere)
    with pytest.raises(UserError, match="there is no file or folder"):
        create_app(EchoRuntime(), ServeConfig(style="written", entailment_model=nowhere))
