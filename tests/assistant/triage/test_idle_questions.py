"""Questions around an emergency are judged by the same rules as the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.assistant.triage.triage import triage

SMALL = """
sources: {here: {name: A guide, url: "https://example.org"}}
concepts:
  purple: {say: [purple toes]}
rules:
  - id: purple
    tier: emergency
    all_of: [purple]
    reason: Purple.
    do: Call.
    source: here
"""


def test_questions_are_judged_by_the_given_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL, encoding="utf-8")
    asked = "Do purple toes ever go away on their own?"
    judged: list[tuple[str, bool]] = []

    def spy(text: str, is_idle: object) -> None:
        judged.append((text, is_idle("My chest is crushed and I cannot breathe?")))  # type: ignore[operator]

    monkeypatch.setattr("galenic.assistant.triage.triage.without_idle_questions", spy)
    triage(asked, path)
    triage("I sneeze")
    assert judged == [(asked, True), ("I sneeze", False)]
