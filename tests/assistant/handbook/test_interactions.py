"""Warnings of what does not go together: whose it is, by which names, and every row is reached."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from galenic.assistant.handbook import interactions as table
from galenic.assistant.handbook.check import host_of
from galenic.assistant.handbook.interactions import interactions, warnings
from galenic.assistant.handbook.owners import ASKER, clauses
from galenic.record.medicines import medicines, named_in

DATA = Path(__file__).parents[1] / "data/development"


@pytest.mark.parametrize(
    ("name", "warned", "needless"),
    [("warnings", 40, 0), ("warnings_again", 25, 0), ("warnings_more", 15, 0)],
)
def test_questions_that_must_warn_do_and_others_do_not(
    name: str, warned: int, needless: int
) -> None:
    """All were written before the code was changed for them; `names`: what a warning must say."""
    rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]
    hits = [row for row in rows if row["names"] and _says(row)]
    extra = [row["id"] for row in rows if not row["names"] and warnings(row["question"])]
    assert len(hits) >= warned
    assert len(extra) <= needless, extra


def _says(row: dict[str, object]) -> bool:
    texts = [one.text.lower() for one in warnings(str(row["question"]), str(row["notes"]))]
    names = row["names"]
    assert isinstance(names, list)
    return any(all(any(w.lower() in t for w in group) for group in names) for t in texts)


@pytest.mark.parametrize(
    ("question", "owners"),
    [
        ("my mother takes warfarin, may I take ibuprofen?", [{"mother"}, {ASKER}]),
        ("my nan is on Eliquis, can she have ibuprofen", [{"nan"}, {"nan"}]),
        ("dad's on warfarin and I gave him aspirin", [{"dad"}, {"dad"}]),
        ("can I take my husband's diazepam", [{ASKER}]),
        ("my 4 year old has asthma, is ibuprofen ok", [{"child"}, set()]),
        ("warfarin and ibuprofen", [set()]),
    ],
)
def test_whose_a_clause_is(question: str, owners: list[set[str]]) -> None:
    assert [set(who) for part, who in clauses(question) if part.strip()] == owners


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("My wife is pregnant, what about ibuprofen?", 1),
        ("My wife is pregnant. Can I have ibuprofen?", 0),
        ("I am breastfeeding, is codeine safe for my baby?", 1),
        ("I am pregnant, is doxycycline safe for my baby?", 1),
        ("Is codeine safe for my baby?", 1),
        ("I drink wine. Can I take my husband's diazepam?", 1),
        ("I drink water with my diazepam", 0),
        ("I no longer take warfarin, is ibuprofen ok?", 0),
        ("I am allergic to penicillin, which antibiotics are there?", 1),
        ("I am allergic to penicillin, is erythromycin ok?", 0),
        ("amoxicillin and breast milk", 0),
        ("calcium channel blocker with ciprofloxacin", 0),
        ("ibuprofen and naproxen together", 1),
        ("ibuprofen and Nurofen, is that the same?", 0),
        ("Tylenol with co-codamol", 1),
        ("can I take ibuprofen with my blood pressure tablets", 1),
        ("nurofen and bp meds ok?", 1),
        ("ibuprofen for my back, my dad is on blood pressure pills", 0),
    ],
)
def test_who_what_and_what_is_denied(question: str, number: int) -> None:
    assert len(warnings(question)) == number


@pytest.mark.slow
def test_every_row_is_reached_by_names_of_its_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST", 99)
    for row in interactions():
        one, other = _names(row.a), _names(row.b)
        asked = [f"Is {a} all right with {b}?" for a in one for b in other if a != b]
        assert any(warnings(text) for text in asked), row.id


def _names(side: table._Side) -> list[str]:
    """Some names of a side that people use."""
    if side.medicine:
        chosen = [one for one in medicines() if one.id == side.medicine]
    elif side.group:
        chosen = [one for one in medicines() if side.group in one.groups][:3]
    else:
        text = files("galenic.assistant.handbook").joinpath("conditions.yaml").read_text("utf-8")
        said = yaml.safe_load(text)[side.condition or side.food]
        return [" ".join(part.split("|")[0] for part in say.replace(" ..", "").split())
                for say in said]  # fmt: skip
    plain = [[name for name in one.names if one in named_in(name)][:1] for one in chosen]
    return [name for names in plain for name in names]


def test_rows_are_many_and_those_with_one_host_only_get_fewer() -> None:
    hosts = {row.id: {host_of(one.url) for one in row.sources} for row in interactions()}
    assert len(hosts) >= 228
    assert sum(len(found) < 2 for found in hosts.values()) <= 11
    assert not [r.id for r in interactions() if r.level == "avoid" and len(hosts[r.id]) < 2]
