"""Words that were given up stay away: source, help, messages and docs are read for them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
LIST = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text("utf-8"))
KINDS = (".py", ".md", ".yaml", ".js", ".html", ".jinja")
QUOTED = ("doses", "sample")  # texts that other commands made


def files() -> list[Path]:
    """All that a user, a patient or a contributor reads."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder in ("src", "docs", "recipes", "benchmarks"):
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    return [path for path in found if not set(QUOTED) & set(path.parts)]


def hits(text: str) -> list[str]:
    """Given-up words in a text, with what to write in their place."""
    found = []
    for one in LIST["words"]:
        for match in re.finditer(rf"(?<!\w){one['word']}", text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"line {line}: {match[0]!r}: write {one['write']}")
    return found


def test_every_word_is_found_where_it_stands() -> None:
    assert len(hits("One knob.\nTwo knobs, and the rows foretold.")) == 3
    assert hits("knobs")[0].startswith("line 1: 'knobs': write option")
    assert hits("doorknob; a sharp look; overlooks") == []


def test_words_that_were_given_up_do_not_come_back() -> None:
    found: dict[str, Any] = {}
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        said = hits(path.read_text("utf-8"))
        if len(said) > LIST["still"].get(name, 0):
            found[name] = said
    assert found == {}
