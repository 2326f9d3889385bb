"""The index: what gets in, what stays, what goes, and what a killed process leaves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from galenic.cache import locked
from galenic.data.jsonl import encode_gzip, write_bytes
from galenic.errors import UserError
from galenic.home import index_path, kept_files, purge
from galenic.retrieval import index as index_module
from galenic.retrieval.index import Summary, index_folder, index_medquad, remove
from galenic.retrieval.retrieve import search
from galenic.retrieval.store import open_store
from record.fhir_bundle import BUNDLE
from watching import Notes


def index(folder: Path, **options: Any) -> Summary:
    return index_folder(folder, Notes(), **options)


def counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.new, summary.changed, summary.unchanged, summary.removed


def stored() -> list[tuple[str, str]]:
    """File and text of every passage, in order; the full-text table agrees with them."""
    with open_store(index_path(), write=True) as store:
        store.connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        assert store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return store.connection.execute(
            "SELECT f.path, p.text FROM passages p JOIN files f ON f.id = p.file "
            "ORDER BY f.path, p.number"
        ).fetchall()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    (own / "deep/er").mkdir(parents=True)
    (own / "a.txt").write_text("Take metformin at breakfast.", encoding="utf-8")
    (own / "deep/b.md").write_text("# Plan\n\nWalk every day.", encoding="utf-8")
    (own / "deep/er/record.json").write_text(json.dumps(BUNDLE), encoding="utf-8")
    return own


def medquad(folder: Path, answers: dict[str, str]) -> Path:
    rows = [
        {"id": key, "question": f"What is {key} ?", "answer": text, "focus": key, "source": "NHLBI",
         "url": "https://example.org/", "synonyms": [f"other {key}"]}
        for key, text in answers.items()
    ]  # fmt: skip
    write_bytes(folder / "medquad/medquad.jsonl.gz", encode_gzip(rows))
    write_bytes(folder / "manifest.json", b'{"files": {}}')
    return folder


def test_only_changes_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index(folder)
    assert counts(first) == (3, 0, 0, 0)
    before = stored()
    assert [path for path, _ in before][:2] == ["a.txt", "deep/b.md"]
    assert first.passages == len(before)

    reads: list[str] = []
    read = index_module.read_file
    monkeypatch.setattr(
        index_module, "read_file", lambda r, name, m: (reads.append(name), read(r, name, m))[1]
    )
    assert counts(index(folder)) == (0, 0, 3, 0)
    assert reads == []
    os.utime(folder / "a.txt", ns=(1, 1))  # another time, the same content
    assert counts(index(folder)) == (0, 0, 3, 0)
    assert reads == ["a.txt"]
    assert counts(index(folder)) == (0, 0, 3, 0)
    assert reads == ["a.txt"]

    (folder / "a.txt").write_text("Take metformin at supper.", encoding="utf-8")
    (folder / "deep/b.md").unlink()
    (folder / "new.txt").write_text("New.", encoding="utf-8")
    assert counts(index(folder)) == (1, 1, 1, 1)
    assert reads == ["a.txt", "a.txt", "new.txt"]
    after = dict(stored())
    assert after["a.txt"] == "Take metformin at supper."
    assert "deep/b.md" not in after and after["new.txt"] == "New."


def test_a_rebuilt_index_is_the_same(folder: Path) -> None:
    index(folder)
    (folder / "a.txt").write_text("Changed, and metformin again.", encoding="utf-8")
    index(folder)
    changed, found = stored(), search("metformin diabetes pressure", 9)
    purge()
    index(folder)
    assert stored() == changed
    assert [(p.id, p.score) for p in search("metformin diabetes pressure", 9)] == [
        (p.id, p.score) for p in found
    ]


def test_what_is_passed_over_is_counted(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("not asked for", encoding="utf-8")
    (folder / "out.txt").symlink_to(outside)
    (folder / "within.txt").symlink_to(folder / "a.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "away").symlink_to(tmp_path)
    (folder / "itself.txt").symlink_to("itself.txt")
    (folder / ".hidden.txt").write_text("x", encoding="utf-8")
    (folder / ".git").mkdir()
    (folder / ".git/config.txt").write_text("x", encoding="utf-8")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8")
    (folder / "binary.txt").write_bytes(b"a\x00b")
    (folder / "bad.txt").write_bytes(b"a fairly long text, one \xff bad byte")
    (folder / "large.txt").write_bytes(b"x " * 40_000)
    (folder / "empty.txt").touch()
    (folder / "scan.PDF").write_bytes(b"no pdf")
    os.mkfifo(folder / "pipe.txt")
    summary = index(folder, max_bytes=50_000)
    assert summary.skipped == {
        "links out of the folder": 2,
        "links within the folder": 2,
        "links that lead nowhere": 1,
        "hidden": 2,
        "other kinds of file (.jpg)": 1,
        "not regular files": 1,
        "too large": 1,
        "binary": 1,
        "bad bytes replaced": 1,
        "files without text": 1,
        "damaged PDF": 1,
        "FHIR resources of unknown type (Encounter)": 2,
    }
    assert summary.new == 4
    assert "not asked for" not in str(stored())
    again = index(folder, max_bytes=50_000)
    assert (again.new, again.unchanged) == (0, 4)
    assert again.skipped["binary"] == 1  # known, not read again


def test_a_file_that_turns_bad_loses_its_passages(folder: Path) -> None:
    index(folder)
    (folder / "a.txt").write_bytes(b"\x00" * 20)
    assert counts(index(folder)) == (0, 1, 2, 0)
    assert "a.txt" not in dict(stored())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_are_counted(folder: Path) -> None:
    (folder / "a.txt").chmod(0)
    assert index(folder).skipped["files that cannot be read"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "'; DROP TABLE passages; --.txt",
        "a\nb.txt",
        '"*^.txt',
        "-rf.txt",
        "[bold]x.txt",
        "ü\u202e.txt",
    ],
)
def test_hostile_names(tmp_path: Path, name: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / name).write_text("metformin", encoding="utf-8")
    (own / os.fsdecode(b"not-utf8-\xff.txt")).write_text("metformin", encoding="utf-8")
    summary = index(own)
    assert counts(summary) == (1, 0, 0, 0)
    assert summary.skipped == {"names that are not UTF-8": 1}
    [found] = search("metformin")
    assert found.document == name and "\n" not in found.title and "\u202e" not in found.title


def test_modes_keep_others_out(folder: Path) -> None:
    index(folder)
    path = index_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    index(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir() if not p.name.startswith(".")] == [path.name]


def test_another_home(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALENIC_HOME", str(tmp_path / "elsewhere"))
    index(folder)
    assert (tmp_path / "elsewhere/assistant/index.sqlite").is_file()
    (tmp_path / "file").touch()
    monkeypatch.setenv("GALENIC_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="GALENIC_HOME"):
        index(folder)


def test_removing_leaves_no_word_behind(folder: Path, tmp_path: Path) -> None:
    (folder / "private.txt").write_text("Zanzibarine allergy since birth. " * 300, encoding="utf-8")
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.txt").write_text("Something else.", encoding="utf-8")
    index(folder)
    index(other)
    assert b"anzibarine" in index_path().read_bytes()
    (folder / "private.txt").unlink()
    index(folder)
    assert b"anzibarin" not in index_path().read_bytes()
    assert remove(str(folder)) == str(folder)
    assert stored() == [("b.txt", "Something else.")]
    assert b"etformin" not in index_path().read_bytes()
    with pytest.raises(UserError, match=r"nothing of .* is indexed\. Indexed: .*other"):
        remove(str(folder))


def test_medquad_comes_with_its_rights(tmp_path: Path) -> None:
    data = medquad(tmp_path, {"gout": "Gout is painful.", "flu": "word " * 400})
    notes = Notes()
    summary = index_medquad(data, notes)
    assert (counts(summary), summary.passages) == ((1, 0, 0, 0), 4)
    assert notes.stages[-1] == ("indexing answers", 2) and notes.done == 2
    [found] = search("gout")
    assert found.license == "CC BY 4.0" and "Ben Abacha" in found.attribution
    assert found.source == "National Heart, Lung, and Blood Institute"
    assert (found.url, found.place, found.collection) == ("https://example.org/", "gout", "medquad")
    assert {p.place for p in search("flu word")} == {f"flu, part {n} of 3" for n in (1, 3)}
    assert counts(index_medquad(data, Notes())) == (0, 0, 1, 0)
    medquad(tmp_path, {"gout": "Gout is a kind of arthritis."})
    assert counts(index_medquad(data, Notes())) == (0, 1, 0, 0)
    assert [text for _, text in stored()] == ["Gout is a kind of arthritis."]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file or folder"):
        index(tmp_path / "nowhere")
    with pytest.raises(UserError, match="--data DIR"):
        index_medquad(None, Notes())
    with pytest.raises(UserError, match=r"medquad.jsonl.gz does not exist"):
        index_medquad(tmp_path, Notes())
    with pytest.raises(UserError, match="nothing is indexed yet"):
        search("anything")
    assert not index_path().exists()


@pytest.mark.parametrize("content", [b"no database at all" * 500, None])
def test_a_damaged_index_is_said(folder: Path, content: bytes | None) -> None:
    index(folder)
    if content is None:
        whole = index_path().read_bytes()
        content = whole[:4096] + bytes(len(whole) - 4096)
    index_path().write_bytes(content)
    with pytest.raises(UserError, match="galenic purge"):
        search("metformin")
    purge()
    assert counts(index(folder)) == (3, 0, 0, 0)


def test_an_index_of_another_version(folder: Path) -> None:
    index(folder)
    with sqlite3.connect(index_path()) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="version 99"):
        search("metformin")


CHILD = """
import os, signal, sys
from pathlib import Path
from watching import Notes
from galenic.retrieval import index, store
place, count, data = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
calls = 0
owner = {"put_file": store.Store, "tidy": store.Store, "read_file": index, "cut": index}[place]
original = getattr(owner, place)
def counted(*args, **others):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **others)
setattr(owner, place, counted)
index.BATCH = 4
if data.name == "own":
    index.index_folder(data, Notes())
else:
    index.index_medquad(data, Notes())
"""


def killed(place: str, count: int, data: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    call = [sys.executable, "-c", CHILD, place, str(count), str(data)]
    done = subprocess.run(call, env=environment, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "count"),
    [("put_file", 1), ("put_file", 7), ("read_file", 6), ("cut", 12), ("tidy", 1)],
)
def test_a_killed_run_leaves_whole_files_and_goes_on(
    tmp_path: Path, place: str, count: int
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    old = {f"{n:02}.txt": f"old {n}. " + "words of before. " * 200 for n in range(12)}
    new = {name: text.replace("old", "new") for name, text in old.items()}
    for name, text in old.items():
        (own / name).write_text(text, encoding="utf-8")
    index(own)
    before = stored()
    for name, text in new.items():
        (own / name).write_text(text, encoding="utf-8")
    killed(place, count, own)
    left = stored()
    whole = {name: " ".join(t for f, t in left if f == name).strip() for name in old}
    states = [text.split()[0] for text in whole.values()]
    for name, text in whole.items():
        assert text.split() in (old[name].split(), new[name].split())
    done = 12 if place == "tidy" else (count - 1) // 4 * 4  # whole batches
    assert states == ["new"] * done + ["old"] * (12 - done)
    summary = index(own)
    assert (summary.changed, summary.unchanged) == (12 - done, done)
    assert [t for t in stored() if "old" in t[1]] == [] and len(stored()) == len(before)


@pytest.mark.slow
def test_killed_in_medquad_all_or_nothing(tmp_path: Path) -> None:
    data = medquad(tmp_path, {f"d{n}": f"old answer {n}" for n in range(50)})
    index_medquad(data, Notes())
    medquad(tmp_path, {f"d{n}": f"new answer {n}" for n in range(50)})
    killed("tidy", 1, data)  # after the transaction
    assert all("new" in text for _, text in stored())
    assert index_medquad(data, Notes()).unchanged == 1
    assert b"old answer" not in index_path().read_bytes()
    medquad(tmp_path, {f"d{n}": f"third answer {n}" for n in range(50)})
    killed("put_file", 1, data)
    assert all("new" in text for _, text in stored())
    assert index_medquad(data, Notes()).changed == 1
    assert all("third" in text for _, text in stored()) and len(stored()) == 50


def test_searches_go_on_while_another_process_indexes(folder: Path) -> None:
    index(folder)
    with open_store(index_path(), write=True) as store, store.batch():
        store.connection.execute("DELETE FROM files")
        assert search("metformin")  # as it was before
        raise_away = pytest.raises(sqlite3.OperationalError)
        with open_store(index_path()) as reader, raise_away:
            try:
                reader.connection.execute("DELETE FROM files")
            except sqlite3.OperationalError as error:
                assert "readonly" in str(error)
                raise


def test_purge_takes_what_is_ours_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    index(folder)
    home = index_path().parent
    (home / "mine.txt").write_text("stays", encoding="utf-8")
    (home / "history").mkdir()
    (home / "history/chat.jsonl").write_text("{}", encoding="utf-8")
    (home / "history/link").symlink_to(folder, target_is_directory=True)
    with locked(index_path()):
        names = {path.name for path in kept_files()}
    assert {"index.sqlite", "chat.jsonl", "link"} <= names
    assert {path.name for path, _ in purge()} == names
    assert [path.name for path in home.iterdir()] == ["mine.txt"]
    assert (folder / "a.txt").is_file()
    assert purge() == []


def test_purge_leaves_a_link_to_its_folder(folder: Path, tmp_path: Path) -> None:
    home = index_path().parent
    home.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "elsewhere").mkdir()
    home.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    index(folder)
    assert "index.sqlite" in {path.name for path, _ in purge()}
    assert home.is_symlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.slow
def test_the_whole_of_medquad(data_dir: Path) -> None:
    if not (data_dir / "medquad/medquad.jsonl.gz").is_file():
        pytest.skip(f"no medquad/medquad.jsonl.gz in {data_dir}")
    summary = index_medquad(data_dir, Notes())
    assert summary.passages > 16_359
    found = search("Could I have a UTI? Burning when I pee, and I go all the time.", 5)
    assert any("Urinary Tract Infection" in passage.title for passage in found[:3])
    found = search("What are the symptoms of Gout ?", 1)
    assert found[0].title == "Gout" and found[0].url.startswith("http")
    for question, topic in LAY.items():
        titles = [passage.title.lower() for passage in search(question, 10)]
        assert any(topic in title for title in titles), (question, titles)


LAY = {
    "my kid wets the bed": "incontinence in children",
    "what is a mini stroke": "transient ischemic",
    "how do I treat piles": "hemorrhoid",
    "is stomach flu contagious": "gastroenteritis",
    "my hands shake": "tremor",
    "hole in the heart of my baby": "holes in the heart",
    "I have low blood sugar": "hypoglycemia",
    "blood clot in my leg": "deep vein thrombosis",
}
