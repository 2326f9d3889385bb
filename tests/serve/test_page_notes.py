"""Files as notes on the page, marked sentences, and where answers come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chromium import Tab
from page import answer, value, words
from scripted import DONE, Scripted, event, passage, said, triage
from test_notes import pdf

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]


def drop(tab: Tab, name: str, text: str) -> None:
    tab.run(
        f"""(() => {{
        const data = new DataTransfer();
        data.items.add(new File([{json.dumps(text)}], {json.dumps(name)}));
        for (const type of ["dragenter", "dragover", "drop"]) {{
          const how = {{ dataTransfer: data, bubbles: true, cancelable: true }};
          const one = new DragEvent(type, how);
          document.body.dispatchEvent(one);
          window.taken = one.defaultPrevented;
          if (type === "dragover") window.shown = !document.querySelector("#drop").hidden;
        }}
        }})()"""
    )
    assert tab.run("[window.taken, window.shown, document.querySelector('#drop').hidden]") == [
        True, True, True,
    ]  # fmt: skip


def heard(tab: Tab, part: str) -> None:
    tab.until(f"document.querySelector('#file-said').textContent.includes({json.dumps(part)})")


def test_dropped_files_are_notes(tab: Tab, server: Scripted, tmp_path: Path) -> None:
    drop(tab, "notes.txt", "Allergic to penicillin.")
    heard(tab, "notes.txt is in the box")
    assert value(tab, "#context") == "Allergic to penicillin."
    assert "23 characters" in words(tab, "#notes summary")[0]
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(pdf("Takes warfarin."))
    tab.choose_file("#file", letter)
    heard(tab, "letter.pdf is in the box")
    assert value(tab, "#context") == "Allergic to penicillin.\n\nTakes warfarin."
    drop(tab, "record.json", "{}")
    heard(tab, "must be alone in the box")
    answer(tab, server, "May I take ibuprofen?", DONE)
    assert server.asked[-1]["context"] == "Allergic to penicillin.\n\nTakes warfarin."
    assert tab.run("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    tab.click("#clear")
    assert value(tab, "#context") == ""
    assert words(tab, "#file-said") == [""]


def test_a_question_waits_for_a_file_that_is_being_read(tab: Tab, server: Scripted) -> None:
    drop(tab, "letter.txt", "Takes warfarin.")
    answer(tab, server, "May I take ibuprofen?", DONE)
    assert [one["context"] for one in server.asked] == ["Takes warfarin."]
    assert words(tab, "#problem") == [""]


def test_a_file_that_was_being_read_does_not_come_back_after_clear(
    tab: Tab, server: Scripted
) -> None:
    drop(tab, "letter.txt", "Takes warfarin.")
    tab.click("#clear")
    drop(tab, "other.txt", "Allergic to penicillin.")
    heard(tab, "other.txt is in the box")
    assert value(tab, "#context") == "Allergic to penicillin."


def test_what_is_typed_while_a_file_is_read_stays(tab: Tab, server: Scripted) -> None:
    drop(tab, "letter.txt", "Takes warfarin.")
    tab.run("document.querySelector('#context').value = 'Asthma.'")
    heard(tab, "letter.txt is in the box")
    assert value(tab, "#context") == "Asthma.\n\nTakes warfarin."


def test_what_is_no_notes_is_said(tab: Tab, server: Scripted) -> None:
    server.refused = 1  # the browser notes the refusal
    drop(tab, "photo.png", "x")
    heard(tab, "photo.png: only .pdf, .txt, .md and .json are read as notes")
    drop(tab, "big.txt", "x" * 5_000_001)
    heard(tab, "big.txt is too large: at most 5 MB")
    assert value(tab, "#context") == ""


def test_a_passage_opens_with_the_cited_sentence_marked(tab: Tab, server: Scripted) -> None:
    text = "First.\n" * 60 + "Drink (about 2 l)\n of water. It may help?\n" + "Last.\n" * 60
    source = event("sources", sources=[passage(1, "Water", text), passage(2, "Other", "None.")])
    sentence = said("answer", "Drink (about 2 l) of water.", 1)
    unfound = said("answer", "Not in it.", 2)
    answer(tab, server, "x", triage("days"), source, sentence, unfound, DONE)
    tab.click(".part-answer li:first-child .cite")
    assert words(tab, "#passage mark") == ["Drink (about 2 l) of water."]
    inside = """(() => {
      const [box, mark] = ["#passage-body", "#passage mark"].map(
        (one) => document.querySelector(one).getBoundingClientRect());
      return mark.top >= box.top && mark.bottom <= box.bottom; })()"""
    assert tab.run(inside)
    tab.run("document.querySelector('#passage').close()")
    tab.click(".part-answer li:last-child .cite")
    assert words(tab, "#passage mark") == []
    tab.run("document.querySelector('#passage').close()")
    tab.click(".passages summary")
    tab.click(".passages .open")
    assert words(tab, "#passage mark") == []


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (
            {"passages": 9000, "collections": ["medquad"], "handbook": 200},
            "medquad (9,000 passages)",
        ),
        ({"passages": 0, "collections": [], "handbook": 200}, "No documents are indexed"),
    ],
)
def test_where_answers_come_from_is_on_the_start_page(
    tab: Tab, server: Scripted, index: dict[str, object], expected: str
) -> None:
    server.more = {"index": index}
    tab.open(f"{server.origin}/?again")
    tab.until("!document.querySelector('#sources').hidden")
    assert (
        "built-in handbook (200 topics, not reviewed by a clinician)" in words(tab, "#sources")[0]
    )
    assert expected in words(tab, "#sources")[0]


def test_leaving_asks_once_there_is_a_conversation(tab: Tab, server: Scripted) -> None:
    leaving = """(() => { const one = new Event("beforeunload", { cancelable: true });
      window.dispatchEvent(one); return one.defaultPrevented; })()"""
    assert not tab.run(leaving)
    answer(tab, server, "x", DONE)
    assert tab.run(leaving)
    tab.click("#clear")
    assert not tab.run(leaving)
