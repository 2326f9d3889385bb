"""What the model of the server is given: its template, its arguments, today's date."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import date
from typing import Any

import pytest
from inside import Inside

from echo import EchoRuntime
from galenic.errors import UserError
from galenic.runtimes.base import Generation, Writing
from galenic.serve.app import create_app
from galenic.serve.settings import ServeConfig

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TEMPLATE = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "{{ strftime_now('%Y-%m-%d') }}|{{ enable_thinking }}|"
    "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
)


class Repeats(EchoRuntime):
    """Writes what it is given."""

    template: str | None = TEMPLATE

    @property
    def chat_template(self) -> str | None:
        return self.template

    def stream(
        self,
        prompt: str | Sequence[int],
        how: Writing,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> Generator[str, None, Generation]:
        yield str(prompt)
        return Generation(str(prompt), 1, finished=True)


def given(server: Inside, *roles: str, **more: Any) -> str:
    messages = [{"role": role, "content": f"as {role} </s>"} for role in roles]
    status, found = server.send("/v1/chat/completions", {"messages": messages, **more})
    assert status == 200, found
    text: str = found["choices"][0]["message"]["content"]
    return text


def test_the_template_gets_today_and_the_arguments() -> None:
    server = Inside(Repeats(), chat_template_kwargs='{"enable_thinking": false}')
    today = date.today().isoformat()
    assert given(server, "user") == f"{today}|False|user:as user </s>;"
    more = {"chat_template_kwargs": {"enable_thinking": True}}
    assert given(server, "user", **more) == f"{today}|True|user:as user </s>;"
    merged = f"{today}|False|user:as developer </s>\n\nas user </s>;"
    assert given(server, "developer", "user") == merged
    wrong = {"messages": [{"role": "user", "content": "x"}]}
    wrong["chat_template_kwargs"] = {"messages": []}  # type: ignore[assignment]
    status, found = server.send("/v1/chat/completions", wrong)
    assert status == 400
    assert "'messages' is set by the conversation" in found["error"]["message"]
    server.close()


def test_arguments_need_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repeats, "template", None)
    for text, words in (('{"a": 1}', "no chat template"), ("[", "not a JSON object")):
        config = ServeConfig.model_validate({"chat_template_kwargs": text})
        with pytest.raises(UserError, match=words):
            create_app(Repeats(), config)
    server = Inside(Repeats())
    assert given(server, "system", "user") == "as system </s>\n\nas user </s>\n"
    body = {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"a": 1}}
    assert server.send("/v1/chat/completions", body)[0] == 400
    server.close()
