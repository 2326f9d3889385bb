"""Chat templates of strangers: each ends within its limits, and says so in one line."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.evaluation.chat import render
from galenic.evaluation.chat.render import check_template, render_chat
from galenic.limits import MESSAGE, TEMPLATE_LENGTH

TALK = [{"role": "user", "content": "Hello"}]
ECHO = "{{ messages[-1].content }}"
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short time in place of the seconds that a loaded machine may need."""
    render._renderer.close()
    monkeypatch.setattr(render, "TEMPLATE_SECONDS", 0.3)


@pytest.mark.parametrize("template", [LOOPS, "{{ 9**(9**9) }}"], ids=["loops", "power"])
def test_what_never_ends_is_ended(hurried: None, template: str) -> None:
    with pytest.raises(UserError, match=r"does not end within .* seconds"):
        render_chat(template, TALK, {})


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ 'a' * 10**10 }}", "1,024 MiB of memory"),
        ("{% for a in range(9999) %}{{ 'a' * 1000 }}{% endfor %}", "4,194,304 characters"),
        ("{{ messages | dictsort }}", "is broken: "),
        ("{{ messages.x.y }}", "is broken: UndefinedError: "),
        ("{% for %}", "is broken: TemplateSyntaxError: "),
        ("{{ 1 / 0 }}", "is broken: ZeroDivisionError: "),
        ("{{ ().__class__.__base__ }}{{ x.y }}", "is broken: "),
        ("{{ '%d' % 'a' }}", "is broken: TypeError: "),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "is broken: "),
        ("{% if x %}" * 200 + "{% endif %}" * 200, "is broken: "),
        ("{% include 'x' %}", "is broken: "),
        ("{{ raise_exception('a\nb' * 99999) }}", "refuses this conversation: "),
        ("x" * (TEMPLATE_LENGTH + 1), f"may have {TEMPLATE_LENGTH:,}"),
    ],
)
def test_a_fault_is_one_line(template: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        check_template(template, {})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < MESSAGE + 200


def test_the_next_conversation_is_rendered_after_one_that_was_ended(hurried: None) -> None:
    with pytest.raises(UserError, match="does not end"):
        render_chat(LOOPS, TALK, {})
    assert render_chat(ECHO, TALK, {}) == "Hello"


@pytest.mark.parametrize("wall", [1, 99])
def test_the_clock_ends_it_where_the_processor_does_not_and_the_other_way_round(
    monkeypatch: pytest.MonkeyPatch, wall: int
) -> None:
    render._renderer.close()
    monkeypatch.setattr(render, "TEMPLATE_SECONDS", 0.3 if wall > 1 else 9)
    render_chat(ECHO, TALK, {})
    monkeypatch.setattr(render, "TEMPLATE_SECONDS", 0.3)
    monkeypatch.setattr(render, "WALL", wall)
    with pytest.raises(UserError, match="does not end"):
        render_chat(LOOPS, TALK, {})


def test_several_threads_get_their_own_texts() -> None:
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        for _ in range(20):
            found[number] = render_chat(ECHO, [{"role": "user", "content": str(number)}], {})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(8)}


def test_odd_characters_go_both_ways() -> None:
    odd = "a\ud800\x00\u2028</script>é\r\n"
    assert render_chat(ECHO, [{"role": "user", "content": odd}], {}) == odd


def test_it_starts_again_when_the_process_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert render_chat(ECHO, TALK, {}) == "Hello"
    child: Any = render._renderer._child
    child.kill()
    child.wait()
    assert render_chat(ECHO, TALK, {}) == "Hello"
