"""Documents become lines, lines become passages."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.record.fhir import read_fhir
from galenic.retrieval.documents import pdf
from galenic.retrieval.documents.base import Document, DocumentLine, SkipError, clean
from galenic.retrieval.documents.cut import LEAST, MOST, TAIL, cut
from galenic.retrieval.documents.pdf import read_pdf
from galenic.retrieval.documents.text import decode, read_markdown, read_text
from record.fhir_bundle import BUNDLE


def texts(document: Document) -> list[str]:
    return [line.text for line in document.lines]


def make_pdf(*pages: str, password: str = "") -> bytes:
    """A PDF as small as they come, written by hand; each line of a page is shown as one."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for page in pages:
        shown = " ".join(f"({line}) Tj 0 -14 Td" for line in page.split("\n")) if page else ""
        stream = f"BT /F1 12 Tf 50 700 Td {shown} ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources {font} "
            f"/Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}".encode()
    end = body.index(b"xref\n0")
    return body + f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{end}\n%%EOF".encode()


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["", "A", "B"])), max_size=20))
def test_cutting_loses_and_repeats_nothing(shape: list[tuple[int, str]]) -> None:
    lines = [
        DocumentLine(" ".join(f"w{at}.{word}" for word in range(count)), f"line {at}", heading)
        for at, (count, heading) in enumerate(shape)
    ]
    pieces = cut(lines)
    assert " ".join(p.text for p in pieces).split() == " ".join(p.text for p in lines).split()
    assert all(len(piece.text.split()) <= MOST + TAIL for piece in pieces)
    for piece in pieces:
        owners = {int(word[1:].split(".")[0]) for word in piece.text.split()}
        assert {lines[at].heading for at in owners} == {piece.heading}
        assert (piece.first, piece.last) == (f"line {min(owners)}", f"line {max(owners)}")


def test_passages_end_where_sentences_end() -> None:
    sentence = "This is a sentence of exactly nine words, see. "
    [line] = read_text((sentence * 100).encode(), "a.txt").lines
    pieces = cut([line])
    assert [len(piece.text.split()) for piece in pieces] == [180] * 5
    assert all(piece.text.endswith("see.") for piece in pieces)


def test_short_paragraphs_share_a_passage() -> None:
    lines = [
        DocumentLine("ten words are in this line, which is short enough", f"line {n}")
        for n in range(30)
    ]
    sizes = [len(piece.text.split()) for piece in cut(lines)]
    assert sum(sizes) == 300 and all(LEAST <= size <= MOST for size in sizes[:-1])
    assert cut(lines)[0].text.count("\n") == 11


@pytest.mark.parametrize("text", ["x" * 100_000, "一" * 20_000, "a. " * 9000, "- x " * 5000])
def test_text_of_no_shape_is_cut_as_well(text: str) -> None:
    pieces = cut([DocumentLine(clean(text), "line 1")])
    assert all(len(piece.text) <= 2400 for piece in pieces)
    assert "".join("".join(p.text.split()) for p in pieces) == "".join(text.split())


def test_cleaning_takes_what_is_not_to_be_seen() -> None:
    assert clean("a\x00b\x1b[31m\u202ec\ud800d\ufeff  e\tf\r\n") == "a b [31m c d e f"


@pytest.mark.parametrize(
    ("raw", "text", "bad"),
    [
        ("\ufeffnaïve".encode(), "naïve", 0),
        ("naïve".encode("utf-16"), "naïve", 0),
        (b"a long enough text with a \xff byte", "a long enough text with a \ufffd byte", 1),
        ("an own \ufffd stays".encode(), "an own \ufffd stays", 0),
        (b"", "", 0),
    ],
)
def test_encodings(raw: bytes, text: str, bad: int) -> None:
    got, notes = decode(raw)
    assert (got, notes["bad bytes replaced"]) == (text, bad)


@pytest.mark.parametrize("raw", [b"PK\x03\x04\x00\x00", bytes(range(128, 256)) * 9])
def test_binary_is_no_text(raw: bytes) -> None:
    with pytest.raises(SkipError, match="binary"):
        decode(raw)


def test_plain_text_is_read_by_paragraphs() -> None:
    document = read_text(b"one\ntwo\n\n\n  three\n- item\n- item\n", "notes.txt")
    assert document.title == "notes.txt"
    assert [(line.text, line.place) for line in document.lines] == [
        ("one two", "line 1"),
        ("three", "line 5"),
        ("- item", "line 6"),
        ("- item", "line 7"),
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Opening hours\nThe surgery is open on weekdays.\n", 2),
        ("Opening hours\n\nThe surgery is open.\n", 2),
        ("We are open\nfrom nine to five on each day.\n", 1),
        ("Please come early.\nThe door is round the back of the house.\n", 1),
        ("Call first:\nThe desk is open from nine.\n", 1),
        ("A long first line that fills its row\nThe rest of it stands here, and more.\n", 1),
    ],
)
def test_a_short_first_line_without_an_end_is_a_heading(text: str, lines: int) -> None:
    assert len(read_text(text.encode(), "leaflet.txt").lines) == lines


def test_markdown_keeps_headings() -> None:
    text = "lead\n# My notes #\n\ntop\n\n## Pills\none a day\n```\n# no heading\n```\n"
    document = read_markdown(text.encode(), "n.md")
    assert document.title == "My notes"
    assert [(line.heading, line.text, line.place) for line in document.lines] == [
        ("", "lead", "line 1"),
        ("My notes", "top", "line 4"),
        ("Pills", "one a day ``` # no heading ```", "line 7"),
    ]


def test_pdf_pages() -> None:
    document = read_pdf(make_pdf("Take metformin with infor-\nmation", "", "Page three"), "a.pdf")
    assert [(line.place, line.text) for line in document.lines] == [
        ("page 1", "Take metformin with information"),
        ("page 3", "Page three"),
    ]
    assert document.title == "a.pdf" and document.notes == {"PDF pages without text": 1}


def encrypted() -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(PdfReader(io.BytesIO(make_pdf("secret"))))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_pdfs_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    whole = make_pdf("hello there, good text")
    with pytest.raises(SkipError, match="encrypted PDF"):
        read_pdf(encrypted(), "a.pdf")
    with pytest.raises(SkipError, match="without text"):
        read_pdf(make_pdf(""), "a.pdf")
    with caplog.at_level(logging.DEBUG):
        for raw in (b"", b"%PDF-1.4", b"hello" * 99, whole[: len(whole) // 3]):
            with pytest.raises(SkipError, match="PDF"):
                read_pdf(raw, "a.pdf")
        for at in range(0, len(whole), 7):  # any byte may be wrong
            try:
                read_pdf(whole[:at] + b"\xfe" + whole[at + 1 :], "a.pdf")
            except SkipError:
                continue
    assert not caplog.records


@pytest.mark.parametrize(
    ("limit", "value", "pages", "left"),
    [
        ("MOST_PAGES", 2, 2, 1),
        ("MOST_CHARACTERS", 11, 2, 1),
        ("MOST_SECONDS", 0, 0, 3),
        ("MOST_CHARACTERS", 2, 0, 3),
    ],
)
def test_a_pdf_that_unpacks_to_hours_of_work(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, pages: int, left: int
) -> None:
    monkeypatch.setattr(pdf, limit, value)
    raw = make_pdf("Iron", "Iron", "Iron")
    if not pages:
        with pytest.raises(SkipError, match="within the limits"):
            read_pdf(raw, "a.pdf")
        return
    document = read_pdf(raw, "a.pdf")
    assert texts(document) == ["Iron"] * pages
    assert document.notes == {"PDF pages beyond the limit": left}


def test_a_health_record_reads_as_plain_lines() -> None:
    document = read_fhir(json.dumps(BUNDLE).encode("utf-8-sig"), "record.json")
    assert texts(document) == [
        "Patient: female (born 1961-03-04).",
        "Condition: Type 2 diabetes mellitus (Active, since 2015-06-01).",
        "Allergy or intolerance: Penicillin "
        "(criticality high, reaction Hives, recorded 1999-09-09).",
        "Medication 2016-01-01: Metformin 500 mg tablet "
        "(prescribed, active, one tablet twice a day).",
        "Medication 2019-05-05: Vitamin D (taken, active).",
        "Observation 2020-01-05: Blood pressure: Systolic 140 mmHg; Diastolic 90 mmHg.",
        "Observation 2024-02-01: Hemoglobin A1c: 7.2 % (High, reference 4 to 5.6 %).",
        "Immunization 2023-10-10: Influenza vaccine (completed).",
        "Procedure 1985-07-01: Appendectomy (completed).",
        "Report 2021-01-01, Discharge letter: Discharged home.",
        "Report 2021-01-01, Discharge letter: Rest for two weeks.",
        "Report 2022-02-02, Chest X-ray: No sign of pneumonia.",
    ]
    assert document.notes == {"FHIR resources of unknown type (Encounter)": 2}
    assert document.lines[6].place == "date 2024-02-01"
    assert "Secretname" not in str(document)


def test_one_resource_without_a_bundle() -> None:
    [line] = read_fhir(json.dumps(BUNDLE["entry"][1]["resource"]).encode(), "c.json").lines
    assert line.heading == "Conditions"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "damaged JSON"),
        (b"[" * 200_000, "damaged JSON"),
        (b'{"a": 1}', "no FHIR"),
        (b"[1]", "no FHIR"),
        (b'{"resourceType": ["Bundle"]}', "no FHIR"),
        (b'{"resourceType": "Bundle", "entry": "x"}', "nothing|anything"),
        (b'{"resourceType": "Bundle"}', "anything"),
        (b"1" * 9999, "damaged JSON"),
        (b"\xff\xfe\x00", "damaged JSON"),
    ],
)
def test_json_that_is_no_record(raw: bytes, reason: str) -> None:
    with pytest.raises(SkipError, match=reason):
        read_fhir(raw, "a.json")


ODD: list[Any] = [
    None, True, -1, 1e300, "x", "\x00<b>", [], [[[]]], [None, "x", {}], {}, {"a": {}},
    {"coding": "x"}, {"text": ["x"]},
    [{"attachment": {"data": "=", "contentType": "text/html"}}],
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_fields_of_any_shape_break_nothing(value: Any) -> None:
    for at, item in enumerate(BUNDLE["entry"][:-2]):
        for name in item["resource"].keys() - {"resourceType"}:
            bundle = json.loads(json.dumps(BUNDLE))
            bundle["entry"][at]["resource"][name] = value
            document = read_fhir(json.dumps(bundle).encode(), "a.json")
            assert all(text == clean(text) for text in texts(document))
