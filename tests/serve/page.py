"""What a user does and reads on the page."""

from __future__ import annotations

import json

from chromium import ENTER, Tab
from scripted import Scripted, played

__all__ = ["answer", "ask", "value", "words"]


def ask(tab: Tab, text: str) -> None:
    tab.run("document.querySelector('#question').focus()")
    tab.type(text)
    tab.press(ENTER)


def answer(tab: Tab, server: Scripted, text: str, *events: bytes) -> None:
    server.play = lambda: played(*events)
    turns = len(words(tab, ".turn"))
    ask(tab, text)
    last = f"document.querySelectorAll('.turn')[{turns}]"
    tab.until(f"{last}?.querySelector('.end').textContent.startsWith('Done')")


def words(tab: Tab, selector: str) -> list[str]:
    found = tab.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(one => one.innerText)"
    )
    return [" ".join(one.split()) for one in found]


def value(tab: Tab, selector: str) -> str:
    return str(tab.run(f"document.querySelector({json.dumps(selector)}).value"))
