"""The mistakes of a newcomer: one clear line each, what to do next, and the right status."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from pathlib import Path

import pytest

from galenic.cli.main import main
from tiny import write_tiny_gguf

MODEL = "smollm2-135m"
FILES = {
    "empty.gguf": b"",
    "cut.gguf": b"",  # half of a model, by the fixture
    "text.gguf": b"hello " * 99,
    "notes.txt": b"A short text.\n",
    "empty.txt": b"",
    "latin.txt": "caf\xe9".encode("latin-1"),
    "empty.jsonl": b"",
    "bad.jsonl": b'{"question": "x"}\n',
    "exam.docx": b"x",
    "mine.yaml": b"stages: [\n",
    "packed.galenic": b"no",
}
# Words of the command, and a pattern of the one line that answers them. Status 2 throughout.
MISTAKES = (
    # the command itself
    ("evalute smollm2-135m", r"'evalute'. Did you mean 'evaluate'\?"),
    ("--data sample evaluate smollm2-135m", "No such option: --data"),
    ("ask", "Missing argument 'question'.*galenic ask --help"),
    ("ask ''", "there is no text.*in your own words"),
    ("ask --contxt notes.txt x", r"--contxt.*Did you mean --context\?"),
    ("ask --context none.txt x", "none.txt cannot be read: No such file"),
    ("ask --context latin.txt x", "latin.txt is not UTF-8.*Save it as UTF-8"),
    ("ask --answer chest x", "ID=yes, ID=no or ID=unsure"),
    ("ask --style poetic x", "Known: extractive, written"),
    ("triage --rules none.yaml x", "none.yaml cannot be read"),
    ("triage --rules mine.yaml x", "mine.yaml is not valid YAML"),
    # models
    ("evaluate", "Missing argument 'model'"),
    ("evaluate smolm2-135m --data sample", "Did you mean 'smollm2-135m'"),
    ("evaluate none.gguf --data sample", "no file or folder none.gguf"),
    ("evaluate empty.gguf --data sample", "empty.gguf is not a GGUF"),
    ("evaluate text.gguf --data sample", "text.gguf is not a GGUF.*Give a .gguf file"),
    ("evaluate notes.txt --data sample", "notes.txt is not a GGUF"),
    ("evaluate cut.gguf --data sample", "cut.gguf"),
    ("evaluate folder --data sample", "no config.json"),
    ("evaluate smollm2-135m extra --data sample", r"meant by: extra\?"),
    ("ask could this be a UTI", r"meant by: this be a UTI\? Text of several words needs quotes\."),
    ("quantize smollm2-135m --bpw 4.5 -o x", r"--bpw\. Did you mean --target-bpw\?"),
    ("inspect none.gguf", "no file or folder none.gguf"),
    ("pull smolm", "Known: "),
    # benchmarks and data
    ("evaluate smollm2-135m --benchmark medqa", r"Did you mean --benchmarks\?"),
    ("evaluate smollm2-135m --benchmarks medqua --data sample", "Did you mean .*medqa"),
    ("evaluate smollm2-135m --benchmarks none.jsonl --data sample", "none.jsonl does not exist"),
    ("evaluate smollm2-135m --benchmarks empty.jsonl --data sample", "empty.jsonl holds no"),
    ("evaluate smollm2-135m --benchmarks exam.docx --data sample", r"must end in .*\.jsonl"),
    ("evaluate smollm2-135m --benchmarks bad.jsonl --data sample", "bad.jsonl, line 1"),
    ("evaluate smollm2-135m --data nowhere", "nowhere: there is no such folder.*--data sample"),
    ("evaluate smollm2-135m --data folder", "does not exist. --data names a folder"),
    ("baseline --data nowhere", "nowhere: there is no such folder"),
    ("data --data nowhere", "nowhere: there is no such folder"),
    ("data --training", "--training works only with --download"),
    ("data --from none.zip", "none.zip does not exist"),
    ("data --from notes.txt --data folder", "no published exam in it"),
    ("data --write-manifest", "--data DIR"),
    # values
    ("evaluate smollm2-135m --scoring leter --data sample", r"Did you mean 'letter'\?"),
    ("evaluate smollm2-135m --scoring '' --data sample", "--scoring"),
    ("evaluate smollm2-135m --limit 0", "--limit.*must be greater than or equal to 1"),
    ("evaluate smollm2-135m --limit many", "--limit.*must be a whole number"),
    ("evaluate smollm2-135m --debias perms", "--debias.*'permutations'"),
    ("evaluate smollm2-135m --runtime tensorflow --data sample", "Known: .*llama"),
    ("evaluate smollm2-135m --data sample --rounds 3", "need --speed"),
    ("data --data sample --quiet --verbose", "exclude each other"),
    ("data --data sample --log-file nowhere/log", "Name a file that can be written"),
    # compressing
    ("compress smollm2-135m", "Missing option '-r' / '--recipe'"),
    ("compress smollm2-135m --recipe lapdog -o out --data sample", r"Did you mean 'laptop'\?"),
    ("compress no-model --recipe none.yaml -o out", "none.yaml"),
    ("compress no-model --recipe sparse -o out", "--data DIR"),
    ("compress no-model --recipe sparse --text none.txt -o out", "none.txt"),
    (
        "compress smollm2-135m --recipe mine.yaml -o out --data sample",
        "mine.yaml is not valid YAML",
    ),
    ("compress smollm2-135m --recipe laptop -o folder --data sample", "folder exists.*another"),
    ("quantize smollm2-135m --bits 4.5 -o out", "whole number; --target-bpw takes an average"),
    ("prune smollm2-135m --method wandaa -o out --data sample", r"Did you mean 'wanda'\?"),
    ("prune smollm2-135m --sparsity 2 -o out --data sample", "must be less than 1"),
    ("prune no-model --sparsity -0.1 -o out", "--sparsity"),
    ("prune no-model --damping 0.1 -o out", "--damping is an option of sparsegpt, width, not of"),
    ("prune no-model --pattern 4:2 -o out", "--pattern"),
    ("prune no-model --text none.txt -o out", "none.txt"),
    ("prune no-model --data nowhere -o out", "nowhere"),
    ("prune no-model -o out", "--data DIR"),
    ("prune no-model -o folder", "exists"),
    ("prune smollm2-135m --neurons -o out --data sample", "is an option of magnitude"),
    ("quantize smollm2-135m --bits 9 -o out", "--bits.*must be less than or equal to 8"),
    ("quantize smollm2-135m --bits 4 --target-bpw 4.5 -o out", "Give one of them"),
    ("quantize smollm2-135m --type Q9_K -o out --data sample", "unknown block type.*Q4_K"),
    ("quantize smollm2-135m --target-size 90XB -o out --data sample", "90XB. is not a size.*8GB"),
    ("plan smollm2-135m --ram 8bananas", "is not a size.*8GB"),
    ("plan no-model --no-probe", "unknown model 'no-model'"),
    ("plan no-model --measure", "--measure and -o FOLDER belong together"),
    ("plan no-model -o dose", "--measure and -o FOLDER belong together"),
    ("plan no-model --measure -o dose", "--data DIR or --text FILE"),
    ("plan no-model --min-speed 5 --no-probe", "--min-speed needs a timing"),
    # training
    ("scan", "Missing option '--train'"),
    ("scan --train none.jsonl", "none.jsonl"),
    ("merge smollm2-135m nowhere -o out", "nowhere"),
    ("merge smollm2-135m folder -o out", "folder is not an adapter"),
    # results
    ("report nowhere", "is not a run.*galenic evaluate"),
    ("report folder", "no run.json.*galenic evaluate"),
    ("compare folder folder", "folder is not a run"),
    ("status nowhere", "holds no study.*galenic study"),
    ("study papr -o out", "Did you mean 'paper'"),
    ("study nowhere -o out", "unknown recipe 'nowhere'"),
    ("study paper -m missing -o out --data sample", "missing"),
    ("study paper -m smollm2-135m -o out --engine rya", "unknown engine 'rya'"),
    ("study paper -o notes.txt", "is a file"),
    ("study paper --limit 0 -o out", "--limit"),
    ("status folder", "holds no study"),
    # shipping
    ("serve --port 99999", "--port.*must be less than or equal to 65535"),
    ("serve --host 0.0.0.0", "GALENIC_API_KEY"),
    ("export smollm2-135m --to gguf -o out", r"--to llama\.cpp"),
    ("pack smollm2-135m -o out.zip", "ends in .galenic"),
    ("unpack packed.galenic -o out", "not made by `galenic pack`"),
    ("unpack none.galenic -o out", "none.galenic is not a file"),
    # the index
    ("index", "one of these is needed: a folder"),
    ("index nowhere", "nowhere is not a file or folder"),
    ("index notes.txt --max-size big", "is not a size.*8GB"),
    ("index --remove nowhere", "nothing is indexed yet.*galenic index"),
    ("search x", "nothing is indexed yet.*galenic index"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    model = write_tiny_gguf(tmp_path / "cut.gguf")
    os.truncate(model, model.stat().st_size // 2)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("precious")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    monkeypatch.setattr(sys, "argv", ["galenic", *shlex.split(words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(("words", "pattern"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_gives_one_clear_line(
    words: str,
    pattern: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, shown = said(words, monkeypatch, capsys)
    assert status == 2, shown
    lines = [line for line in shown.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, shown
    assert shown.endswith(lines[0] + "\n"), "nothing follows the error"
    assert re.search(pattern, lines[0]), lines[0]
    assert "Traceback" not in shown
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "folder"])
    assert [path.name for path in (folder / "folder").iterdir()] == ["mine"]


def test_there_are_forty_mistakes() -> None:
    assert len({words for words, _ in MISTAKES}) >= 40


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_busy_port_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, shown = said(f"serve --port {port}", monkeypatch, capsys)
    assert status == 2, shown
    assert shown.count("\n") == 1
    assert f"{port}" in shown
    assert "--port" in shown


def test_a_folder_that_is_read_only_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.access", lambda *_args, **_kwargs: False)
    words = f"pack {MODEL} -o {tmp_path / 'out' / 'a.galenic'}"
    status, shown = said(words, monkeypatch, capsys)
    assert status == 2, shown
    assert shown.count("\n") == 1
    assert "cannot be written to" in shown
