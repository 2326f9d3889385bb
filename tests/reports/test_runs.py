"""Run folders: whole, stopped, compressed, damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from galenic.errors import UserError
from galenic.reports.runs import load_run, load_runs
from runs import write_run


def test_a_whole_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", benchmarks=["pubmedqa", "medmcqa"], num_items=5)
    run = load_run(folder)
    assert (run.name, run.num_planned, run.complete, run.cut_line) == ("a", 10, True, False)
    assert len(run.records) == len(run.items) == 10
    assert run.items["pubmedqa", "pubmedqa-3"].options == {
        "yes": "yes",
        "no": "no",
        "maybe": "maybe",
    }
    assert run.entry("medmcqa").split == "validation"
    assert run.timings[0].tokens_asked == 9000


def test_gzip_reads_the_same(tmp_path: Path) -> None:
    plain = load_run(write_run(tmp_path / "a", num_items=6))
    packed = load_run(write_run(tmp_path / "b", num_items=6, compress=True))
    assert plain.records == packed.records


def test_a_stopped_run_says_how_far_it_came(tmp_path: Path) -> None:
    folder = write_run(tmp_path, scorings=["letter", "text"], num_items=8, keep=5)
    run = load_run(folder)
    assert (len(run.records), run.num_planned, run.complete) == (5, 16, False)


def test_a_half_written_last_line_is_left_out_and_noted(tmp_path: Path) -> None:
    path = write_run(tmp_path, num_items=4) / "records.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    run = load_run(tmp_path)
    assert (len(run.records), run.cut_line) == (3, True)
    # Without its line end the last record is whole all the same.
    path.write_bytes(content[:-1])
    run = load_run(tmp_path)
    assert (len(run.records), run.cut_line) == (4, False)


def change_line(path: Path, number: int, change: Callable[[str], str]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = change(lines[number - 1])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def set_field(name: str, value: object) -> Callable[[str], str]:
    return lambda line: json.dumps({**json.loads(line), name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line[:-4], r"records\.jsonl, line 2: not JSON"),
        (set_field("gold", 3), r"records\.jsonl, line 2: gold: .*string"),
        (set_field("surprise", 3), r"records\.jsonl, line 2: surprise: "),
        (set_field("id", "medmcqa-0"), r"records\.jsonl, line 2: the same question .* line 1"),
        (set_field("id", "nowhere"), r"line 2: question 'nowhere' is not in items\.jsonl"),
        (set_field("benchmark", "other"), r"line 2: benchmark 'other' is not in run\.json"),
    ],
)
def test_a_broken_record_names_file_and_line(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    write_run(tmp_path, num_items=4)
    change_line(tmp_path / "records.jsonl", 2, change)
    with pytest.raises(UserError, match=message):
        load_run(tmp_path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        load_run(tmp_path / "missing")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"has no run\.json"):
        load_run(tmp_path)
    folder = write_run(tmp_path / "run", num_items=3)
    (folder / "items.jsonl").unlink()
    with pytest.raises(UserError, match=r"items\.jsonl \(the questions; .*\) is missing"):
        load_run(folder)
    write_run(folder, num_items=3, keep=0)
    with pytest.raises(UserError, match=r"no records yet.*galenic evaluate"):
        load_run(folder)
    write_run(folder, num_items=3, compress=True)
    with pytest.raises(UserError, match=r"both records\.jsonl and records\.jsonl\.gz"):
        load_run(folder)


def test_a_folder_in_which_nothing_was_begun_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it is empty.*is to be run again"):
        load_run(tmp_path)


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, num_items=3) / "run.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "format": 2}), encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json cannot be read: format: Input should be 1"):
        load_run(tmp_path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json cannot be read"):
        load_run(tmp_path)


def test_several_runs_keep_distinct_names(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name / "run", num_items=3) for name in ("dense", "pruned")]
    folders.append(write_run(tmp_path / "other", num_items=3))
    assert [run.name for run in load_runs(folders)] == ["dense/run", "pruned/run", "other"]
    with pytest.raises(UserError, match="named twice"):
        load_runs([folders[0], folders[0].parent / ".." / "dense" / "run"])
