"""Every entry keeps to the rules: shape, hosts, two hosts for safety, plain words, triage."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from galenic.assistant.guards.check import of_answer
from galenic.assistant.handbook.check import (
    accepted,
    entry_faults,
    grade,
    host_of,
    leaving,
    place_faults,
)
from galenic.assistant.handbook.entry import SAFETY
from galenic.assistant.handbook.interactions import interactions, warnings
from galenic.assistant.handbook.load import entries, read_entries
from galenic.assistant.handbook.topics import topics
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage
from galenic.record.medicines import medicines, named_in

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "src/galenic/assistant/handbook/entries"
LOG = ROOT / "tools/handbook/log"


def test_there_are_enough_entries_and_they_are_small() -> None:
    known = entries()
    assert sum(one.kind == "topic" for one in known) >= 80
    assert sum(one.kind == "medicine" for one in known) >= 30
    assert [one.id for one in known] == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert sum(len(zlib.compress(path.read_bytes())) for path in FOLDER.glob("*.yaml")) <= 1_000_000


def test_every_entry_keeps_to_the_rules() -> None:
    faults = [
        f"{entry.id}: {fault}"
        for entry in entries()
        for fault in (
            *entry_faults(entry),
            *(f"{p.statement.text}: {f}" for p in entry.places() for f in place_faults(entry, p)),
        )
    ]
    assert faults == []


@pytest.mark.slow
def test_guards_hide_next_to_nothing_of_the_handbook() -> None:
    places = [place for entry in entries() for place in entry.places()]
    hidden = [one.statement.text for one in places if of_answer(one.statement.text)]
    assert len(hidden) <= 0.005 * len(places)
    urgent = [one.statement.text for one in places if one.field.startswith("seek.")]
    assert [text for text in urgent if of_answer(text)] == []


@pytest.mark.slow
def test_emergencies_of_the_handbook_are_not_less_than_today_in_triage() -> None:
    """Put to triage as somebody's words: most must come out urgent, and few as self-care."""
    tiers = [
        triage(_as_complaint(place.statement.text)).tier
        for entry in entries()
        for place in entry.places()
        if place.field == "seek.emergency"
    ]
    known = [tier for tier in tiers if tier != "unknown"]
    low = [tier for tier in known if rank(tier) < rank("today")]
    assert len(tiers) > 100
    assert len(low) <= 0.1 * len(known)


def _as_complaint(text: str) -> str:
    """What follows "if": "Call the emergency number if you cannot breathe." """
    return (
        "I have this now: " + text.partition(" if ")[2].replace("you ", "I ")
        if " if " in text
        else text
    )


def test_every_statement_is_in_the_log() -> None:
    missing = []
    for entry in entries():
        rows = [json.loads(row) for row in (LOG / f"{entry.id}.jsonl").read_text().splitlines()]
        logged = {row["text"] for row in rows if row["lookups"]}
        missing += [p.statement.text for p in entry.places() if p.statement.text not in logged]
    assert len(missing) <= 0.01 * sum(len(list(entry.places())) for entry in entries())


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://www.nhs.uk/x", True),
        ("https://uclh.nhs.uk/x", True),
        ("https://my.clevelandclinic.org/x", True),
        ("https://www.webmd.com/x", False),
        ("https://notnhs.uk/x", False),
        ("https://nhs.uk.example.com/x", False),
        ("https://en.wikipedia.org/x", False),
    ],
)
def test_hosts(url: str, fine: bool) -> None:
    assert accepted(url) is fine


def test_faults_are_found(tmp_path: Path) -> None:
    entry = entries()[0]
    place = next(p for p in entry.places() if p.field.startswith("seek."))
    for text in ("Take 500 mg of it now.", "It is bad for you.", "Stop taking your tablets now."):
        bad = place._replace(statement=place.statement.model_copy(update={"text": text}))
        assert list(place_faults(entry, bad)), text
    lone = place.statement.model_copy(update={"sources": place.statement.sources[:1]})
    assert "too few hosts" in list(place_faults(entry, place._replace(statement=lone)))
    assert list(entry_faults(entry.model_copy(update={"also": ()})))
    assert read_entries([FOLDER / f"{entry.id}.yaml"]) == (entry,)


def test_the_grade_is_that_of_the_formula() -> None:
    assert grade(["The cat sat."]) == pytest.approx(0.39 * 3 + 11.8 * 1 - 15.59)


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        ("I have a cold", "common-cold"),
        ("my child has a fever", "fever-children"),
        ("does hayfever make you tired", "hay-fever"),
        ("what is gout", "gout"),
        ("can I take nurofen", "nsaids"),
        ("my ear aches", "ear-infection"),
    ],
)
def test_the_meant_topic_comes_first(question: str, entry: str) -> None:
    assert topics().find(question)[0].entry.id == entry


# Medicines that do not go together


def test_every_statement_has_a_page_that_keeps_to_the_rule() -> None:
    """A host outside the rule is cited beside one inside it; the list of those only shrinks."""
    beside = 0
    for entry in entries():
        for place in entry.places():
            pages = [entry.sources[key].url for key in place.statement.sources]
            assert any(map(accepted, pages)), place.statement.text
            beside += any(map(leaving, pages))
    assert beside <= 166


def test_few_statements_on_safety_rest_on_one_accepted_host() -> None:
    """The others have two hosts that keep to the rule; the number only shrinks."""
    alone = 0
    for entry in entries():
        for place in entry.places():
            pages = [entry.sources[key].url for key in place.statement.sources]
            alone += (
                place.field in SAFETY and len({host_of(url) for url in pages if accepted(url)}) < 2
            )
    assert alone <= 80


def test_the_table_is_sourced() -> None:
    assert len(interactions()) >= 100
    for row in interactions():
        assert all(accepted(one.url) or leaving(one.url) for one in row.sources)
        assert any(accepted(one.url) for one in row.sources)
    known = {one.id for one in medicines()}
    named = {side.medicine for row in interactions() for side in (row.a, row.b) if side.medicine}
    assert named <= known


@pytest.mark.parametrize(
    ("question", "record", "number"),
    [
        ("Can I take Nurofen?", "Medication: warfarin", 1),
        ("Can I take ibuprofen?", "", 0),
        ("Is ibuprofen ok while pregnant?", "", 1),
        ("I am not pregnant, can I take ibuprofen?", "", 0),
        ("Alcohol with metronidazole?", "", 1),
        ("What helps a cold?", "Medication: warfarin", 0),
    ],
)
def test_warnings_by_name_brand_group_and_record(question: str, record: str, number: int) -> None:
    found = warnings(question, record)
    assert len(found) == number
    assert all(("record" in one.text) == bool(record) for one in found)


def test_brands_name_the_medicine() -> None:
    assert [one.id for one in named_in("I took two Nurofen")] == ["ibuprofen"]
    assert not named_in("I like iron gates")
