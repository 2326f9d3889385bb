"""MedQuAD as it is published, and texts that are written in other letters than queries."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from galenic.errors import UserError
from galenic.retrieval.documents.base import clean, joined
from galenic.retrieval.documents.medquad_files import read_published
from galenic.retrieval.index import index_folder, index_published
from galenic.retrieval.query import words
from galenic.retrieval.retrieve import search
from watching import Notes

XML = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="0000001" source="NIDDK" url="https://www.niddk.nih.gov/zorb">
<Focus>Zorb disease</Focus>
<FocusAnnotations><Synonyms><Synonym>Frops</Synonym></Synonyms></FocusAnnotations>
<QAPairs>
<QAPair pid="1"><Question qid="1-1" qtype="information">What is Zorb disease ?</Question>
<Answer>Zorb disease is a fever of frops.</Answer></QAPair>
<QAPair pid="2"><Question qid="1-2">What helps ?</Question><Answer></Answer></QAPair>
</QAPairs></Document>"""


def copies(folder: Path) -> list[Path]:
    tree = folder / "MedQuAD-master" / "5_NIDDK_QA"
    tree.mkdir(parents=True)
    (tree / "0000001.xml").write_text(XML, encoding="utf-8")
    with zipfile.ZipFile(folder / "m.zip", "w") as archive:
        archive.writestr("MedQuAD-master/5_NIDDK_QA/0000001.xml", XML)
    (folder / "hub.csv").write_text(
        "qtype,Question,Answer\n"
        "information,What is (are) Zorb disease ?,Zorb disease is a fever of frops.\n"
    )
    (folder / "hub.jsonl").write_text(
        '{"question_focus": "Zorb disease", "question": "What is Zorb disease ?", '
        '"answer": "Zorb disease is a fever of frops.", "document_source": "NIDDK", '
        '"document_url": "https://www.niddk.nih.gov/zorb"}\n'
    )
    return [folder / "MedQuAD-master", folder / "m.zip", folder / "hub.csv", folder / "hub.jsonl"]


def test_every_published_form_gives_the_same_answer(tmp_path: Path) -> None:
    for path in copies(tmp_path):
        [answer] = read_published(path)
        assert (answer.topic, answer.answer) == (
            "Zorb disease",
            "Zorb disease is a fever of frops.",
        ), path
        index_published(path, Notes())
        [found] = search("zorb")
        assert found.title == "Zorb disease"


def test_capitals_in_file_names_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "A.XML").write_text(XML, encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "M.ZIP", "w") as archive:
        archive.writestr("A.XML", XML)
    for path in (tmp_path, tmp_path / "M.ZIP"):
        assert [answer.topic for answer in read_published(path)] == ["Zorb disease"]


def test_the_hubs_parquet_is_read_as_a_file_and_as_a_folder(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "data" / "train-00000-of-00001.parquet"
    file.parent.mkdir()
    row = {
        "question_focus": "Zorb disease",
        "question": "What is Zorb disease ?",
        "answer": "A fever.",
        "document_source": "NIDDK",
        "synonyms": ["Frops", "Quax"],
        "umls_cui": ["C1"],
    }
    empty = {**row, "answer": None}
    parquet.write_table(arrow.Table.from_pylist([row, empty]), file)
    for path in (file, tmp_path):
        [answer] = read_published(path)
        assert (answer.topic, answer.answer, answer.names) == (
            "Zorb disease", "A fever.", "Frops; Quax",
        )  # fmt: skip
    file.write_bytes(b"PAR1 damaged")
    with pytest.raises(UserError, match="damaged or not a Parquet file"):
        read_published(file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xml", b"<Document>", "none"),
        ("b.zip", b"no zip", "cannot be read as a zip"),
        ("a.xml", b"<Document>" + b" " * 20_000_000, "20,000,000 are allowed"),
        ("c.csv", b"x,y\n1,2\n", "question and answer"),
        ("d.txt", b"text", "github.com/abachaa/MedQuAD"),
    ],
)
def test_what_is_no_medquad_is_said(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    path = tmp_path if name == "a.xml" else tmp_path / name
    with pytest.raises(UserError, match="damaged" if message == "none" else message):
        read_published(path)


def test_entities_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><Document/>')
    with pytest.raises(UserError, match="entities"):
        read_published(tmp_path)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("Difﬁcult after reﬂux", "difficult reflux"),
        ("Hyper\u00adkal\u00ademia", "hyperkalemia"),
        ("Anti\u200bcoagulation", "anticoagulation"),
        ("ＣＯＶＩＤ", "covid"),
        ("HbA₁c and CO₂", "hba1c co2"),
    ],
)
def test_texts_and_queries_have_one_form(written: str, asked: str) -> None:
    assert set(words(asked)) <= set(words(clean(written)))
    assert words(written) == words(clean(written))


def test_divided_words_are_whole_again() -> None:
    assert joined(["called hyper-", "tension by", "some"]) == "called hypertension by some"
    assert joined(["Beta-", "blockers and non-", "Hodgkin"]) == "Beta-blockers and non- Hodgkin"


def test_a_single_file_is_taken_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Zorb is quax.")
    assert index_folder(note, Notes()).new == 1
    assert [one.text for one in search("quax")] == ["Zorb is quax."]
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"%PDF-1.4 broken")
    summary = index_folder(bad, Notes())
    assert summary.empty
    assert [one.partition(":")[0] for one in summary.named] == ["bad.pdf"]


def test_a_zip_may_not_unpack_to_much_more_than_itself(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.xml", b" " * 19_000_000)
    with pytest.raises(UserError, match="200 times its size"):
        read_published(path)


@pytest.mark.parametrize("encoding", ["gbk", "hex", "idna", "no-such-one", "utf-7"])
def test_an_encoding_that_cannot_be_read_is_said(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><Document/>')
    with pytest.raises(UserError, match=r"a\.xml is damaged"):
        read_published(tmp_path)


def test_entities_are_refused_in_any_encoding(tmp_path: Path) -> None:
    text = '<!DOCTYPE a [<!ENTITY a "aaaa">]><Document><Focus>&a;</Focus></Document>'
    (tmp_path / "a.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(UserError, match="declares entities"):
        read_published(tmp_path)


def test_a_text_that_a_parquet_stores_once_is_not_copied_without_end(tmp_path: Path) -> None:
    """A small file of 100,000 rows with the same 100 kB would be 10 GB of answers."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = arrow.DictionaryArray.from_arrays([0] * 100_000, arrow.array(["x" * 100_000]))
    file = tmp_path / "x.parquet"
    parquet.write_table(arrow.table({"question": texts, "answer": texts}), file)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_published(file)


@pytest.mark.parametrize("size", [47, 200, 2**32 - 2])
def test_a_zip_whose_list_lies_about_its_size(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.xml", "<Document/>")
    data = bytearray(path.read_bytes())
    data[-10:-6] = size.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as a zip"):
        read_published(path)
