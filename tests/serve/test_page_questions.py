"""Questions of triage on the page, emergency numbers, and the copy of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from chromium import Tab
from page import answer, ask, words
from scripted import DONE, FIRST, REST, UTI, Scripted, event, finding, played, triage

from galenic.assistant.triage.crisis import calls

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]


def asked(name: str, tier: str = "emergency") -> dict[str, Any]:
    return {"id": name, "text": f"Is there {name}?", "tier": tier, "reason": "It matters."}


BOTH = [asked("pain"), asked("fever", "today")]
OPEN = triage("unknown", questions=BOTH, final=False)
CARD = "document.querySelector('.ask-back')"


def press(tab: Tab, name: str, label: str) -> None:
    tab.run(
        f"[...document.querySelectorAll('[aria-label=\"Is there {name}?\"] button')]"
        f".find(one => one.textContent === '{label}').click()"
    )


def test_answers_show_the_tier_again(tab: Tab, server: Scripted) -> None:
    answer(tab, server, "My arm hurts", OPEN, DONE)
    assert tab.run(f"{CARD}.nextElementSibling.className").startswith("tier")  # asked first
    assert words(tab, ".ask-back .row p") == ["Is there pain?", "Is there fever?"]
    assert words(tab, ".row:first-of-type .choice")[:3] == ["Yes", "No", "Not sure"]
    today = finding(
        "today", "A fever may be serious.", "Speak to a doctor today.", "Is there fever?"
    )
    today["layer"] = "questions"
    server.play = lambda: played(triage("today", today), DONE)
    press(tab, "pain", "No")
    assert len(server.asked) == 1  # one is open still
    press(tab, "fever", "Not sure")
    tab.until("document.querySelector('.tier h2')?.textContent.includes('today')")
    tab.until("document.querySelector('.end').textContent.startsWith('Done')")
    expected = {"question": "My arm hurts", "history": [], "context": None}
    assert server.asked[1] == {**expected, "answers": {"pain": "no", "fever": "not sure"}}
    assert len(words(tab, ".turn")) == 1 and tab.run(f"{CARD} === null")
    assert words(tab, ".tier .from")[0].startswith("Your answer to: ")
    assert words(tab, ".answered summary") == ["Your answers (2)"]
    assert tab.run("document.activeElement.className").startswith("tier")
    answer(tab, server, "And now?", DONE)
    assert server.asked[2]["answers"] == {"pain": "no", "fever": "not sure"}


def test_a_yes_that_needs_help_at_once_does_not_wait(tab: Tab, server: Scripted) -> None:
    server.play = lambda: server.held(OPEN)
    ask(tab, "My arm hurts")
    tab.until(f"{CARD} !== null")
    server.play = lambda: played(triage("emergency", finding("emergency", "x", "Call.")), DONE)
    press(tab, "pain", "Yes")  # the first answer is still under way
    tab.until("document.querySelector('.tier-emergency') !== null")
    assert server.left.wait(10)
    assert server.asked[1]["answers"] == {"pain": "yes"}
    tab.until("document.querySelector('.end').textContent.startsWith('Done')")
    server.play = lambda: played(OPEN, DONE)
    tab.run("document.querySelector('.answered button').click()")
    tab.until(f"{CARD} !== null")
    assert "answers" not in server.asked[2]


def test_the_result_can_be_had_with_some_answers(tab: Tab, server: Scripted) -> None:
    answer(tab, server, "My arm hurts", OPEN, DONE)
    now = "document.querySelector('.ask-back > button')"
    assert tab.run(f"{now}.hidden")
    press(tab, "fever", "No")
    server.play = lambda: played(triage("unknown", questions=BOTH[:1], final=False), DONE)
    tab.run(f"{now}.click()")
    tab.until(f"{CARD}?.querySelector('h3').textContent === 'One question first'")
    assert server.asked[1]["answers"] == {"fever": "no"}
    tab.click("#clear")
    answer(tab, server, "Next", DONE)
    assert "answers" not in server.asked[2]


def test_refused_answers_are_said(tab: Tab, server: Scripted) -> None:
    answer(tab, server, "My arm hurts", OPEN, DONE)
    server.refuse = (400, "answers: there is no question 'pain'")
    press(tab, "pain", "Yes")
    tab.until("!document.querySelector('#problem').hidden")
    assert "no question 'pain'" in words(tab, "#problem")[0]
    assert tab.run(f"{CARD} !== null")


def test_an_emergency_can_be_called(tab: Tab, server: Scripted) -> None:
    listed = calls("de-DE")
    urgent = triage("emergency", finding("emergency", "x", "Call."), calls=listed)
    answer(tab, server, "Help", urgent, DONE)
    links = tab.run("[...document.querySelectorAll('.call')].map(one => one.href)")
    assert links == [f"tel:{one['number']}" for one in listed["numbers"]]
    assert listed["elsewhere"] in words(tab, ".calls")[0]
    above = tab.run("""document.querySelector('.calls').compareDocumentPosition(
      document.querySelector('.tier .do')) & Node.DOCUMENT_POSITION_FOLLOWING""")
    assert above  # what to touch comes before what to read
    answer(tab, server, UTI, *FIRST, *REST)
    assert tab.run("document.querySelectorAll('.turn:last-child .call').length") == 0


def test_an_answer_is_copied(tab: Tab, server: Scripted) -> None:
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    tab.browser.send(
        "Browser.grantPermissions", permissions=permissions, browserContextId=tab._context
    )
    warning = event("sentence", section="warning", text="Ask first.", sources=[])
    answer(tab, server, UTI, *FIRST, warning, *REST)
    assert words(tab, ".part h3")[0] == "Take care"
    tab.send("Page.bringToFront")
    tab.click(".copy")
    tab.until("document.querySelector('.copy').textContent === 'Copied'")
    copied = tab.run("navigator.clipboard.readText()")
    assert copied.startswith(f"You: {UTI}")
    for part in ("See someone", "What to watch for", "- Drinking water may help. [2]"):
        assert part in copied
    assert "Yes" not in copied


def test_a_cry_for_help_is_not_answered_with_the_same_advice_twice(
    tab: Tab, server: Scripted
) -> None:
    found = [
        finding(
            "emergency", "You speak of ending life.", "Call now. Stay with somebody.", "end it"
        ),
        finding(
            "emergency", "Suicide is named here.", "Do not stay alone, and call now.", "end it"
        ),
    ]
    answer(tab, server, "x", triage("emergency", *found, crisis={"text": "Thank you."}), DONE)
    assert words(tab, ".tier .do") == ["Call now. Stay with somebody."]
    answer(tab, server, "x", triage("emergency", *found), DONE)
    assert len(words(tab, ".turn:last-child .tier .do")) == 2
