"""Calibration text: nothing held out is ever in it, sequences are whole, the seed decides."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from galenic.data.calibration import (
    MEDQUAD,
    CalibrationConfig,
    CalibrationText,
    medquad_texts,
    pack,
    plain_texts,
    read_calibration_text,
    read_heldout_text,
)
from galenic.errors import UserError


def write_medquad(folder: Path, topics: int = 60) -> Path:
    """Each topic in two documents of two questions; the last topic has no name."""
    rows = [
        {
            "id": f"{topic}-{document}-{question}",
            "folder": f"folder {document}",
            "doc_id": str(topic),  # numbers repeat from folder to folder, as in MedQuAD
            "focus": f"Topic {topic}" if topic < topics - 1 else None,
            "question": f"What is topic {topic}?",
            "answer": f"Topic {topic}, document {document}, answer {question}.",
        }
        for topic in range(topics)
        for document in range(2)
        for question in range(2)
    ]
    path = folder / MEDQUAD
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    facts = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "rows": len(rows)}
    facts |= {"license": "CC BY 4.0", "origin": "test"}
    (folder / "manifest.json").write_text(json.dumps({"files": {MEDQUAD: facts}}))
    return folder


def topic_of(text: str) -> str:
    return text.partition("?")[0]


def characters(text: str) -> list[int]:
    return [ord(character) for character in text]


def test_both_parts_make_the_whole_and_share_no_topic(tmp_path: Path) -> None:
    folder = write_medquad(tmp_path)
    fitted = medquad_texts(folder, "calibration")
    heldout = medquad_texts(folder, "heldout")
    assert len(fitted.documents) + len(heldout.documents) == 240
    assert len(heldout.documents) > 0
    named = [{topic_of(text) for text in part.documents} for part in (fitted, heldout)]
    assert {topic for topic in named[0] & named[1] if "topic 59" not in topic} == set()
    assert fitted.documents[0].startswith("Question: What is topic ")
    assert "\nAnswer: Topic " in fitted.documents[0]


@pytest.mark.slow
def test_the_real_file(data_dir: Path) -> None:
    if not (data_dir / MEDQUAD).exists():
        pytest.skip(f"no {MEDQUAD} in {data_dir}")
    fitted = medquad_texts(data_dir, "calibration")
    heldout = medquad_texts(data_dir, "heldout")
    assert len(fitted.documents) + len(heldout.documents) == 16359
    assert 0.07 < len(heldout.documents) / 16359 < 0.13
    questions = [
        {text.partition("\nAnswer: ")[0] for text in p.documents} for p in (fitted, heldout)
    ]
    assert questions[0].isdisjoint(questions[1])  # not even the same question of two sources


def test_sequences_are_the_documents_end_to_end() -> None:
    texts = [CalibrationText("x", "0", ("abc", "defgh", "ij", "klmnopqrs"))]
    config = CalibrationConfig(num_samples=2, seq_len=8, seed=3)
    rows = pack(texts, characters, config, start=[1], end=[2])
    assert rows.shape == (2, 8)
    assert (rows[:, 0] == 1).all()
    stream = "".join(chr(c) for row in rows for c in row[1:])
    whole = stream.split("\x02")
    assert set(whole[:-1]) <= set(texts[0].documents)
    assert any(document.startswith(whole[-1]) for document in texts[0].documents)


def test_the_seed_decides(tmp_path: Path) -> None:
    texts = [CalibrationText("x", "0", tuple(f"document {i}" for i in range(50)))]

    def rows(seed: int) -> list[list[int]]:
        config = CalibrationConfig(num_samples=4, seq_len=16, seed=seed)
        return pack(texts, characters, config).tolist()

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


@pytest.mark.parametrize(("samples", "first"), [(4, 2), (5, 3), (1, 1)])
def test_two_sources_share_the_sequences(samples: int, first: int) -> None:
    texts = [CalibrationText("a", "0", ("a" * 99,)), CalibrationText("b", "0", ("b" * 99,))]
    config = CalibrationConfig(num_samples=samples, seq_len=10)
    rows = pack(texts, characters, config)
    assert [chr(row[0]) for row in rows] == ["a"] * first + ["b"] * (samples - first)


def test_too_little_text_says_how_much_there_is() -> None:
    config = CalibrationConfig(num_samples=3, seq_len=8)
    with pytest.raises(UserError, match=r"notes\.txt has 12 tokens, and 3 sequences of 8"):
        pack([CalibrationText("notes.txt", "0", ("twelve chars",))], characters, config)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("\ufeffFirst\r\nline.\r\n\r\n\r\n  Second. \n\n\n".encode())
    text = plain_texts(path)
    assert text.documents == ("First\nline.", "Second.")
    assert text.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "no text"), (b"ab\xff", "not UTF-8 at byte 3"), (None, "cannot")]
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "notes.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        plain_texts(path)


def test_no_source_is_an_error_that_names_both_flags(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data DIR .*--text FILE"):
        read_calibration_text(CalibrationConfig())
    with pytest.raises(UserError, match=r"medquad\.jsonl\.gz does not exist"):
        read_calibration_text(CalibrationConfig(data=str(tmp_path)))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    folder = write_medquad(tmp_path)
    path = folder / MEDQUAD
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(UserError, match="not the file that is recorded"):
        medquad_texts(folder, "calibration")


@pytest.mark.slow
def test_the_handbook_serves_to_try_things_out() -> None:
    config = CalibrationConfig(data="sample")
    [fitted], [judged] = read_calibration_text(config), read_heldout_text(config)
    assert fitted.source == "Galenic's handbook, calibration part"
    assert fitted.sha256 == judged.sha256
    assert not set(fitted.documents) & set(judged.documents)
    assert len(fitted.documents) > 5 * len(judged.documents) > 0
    stomach = next(text for text in fitted.documents + judged.documents if "belly pain" in text)
    assert "\n" in stomach  # its title, then its sentences
    assert "http" not in stomach
