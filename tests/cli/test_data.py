import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from galenic.cli.main import app
from galenic.errors import UserError

DEV = "medqa/4options_dev.jsonl.gz"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path) -> Path:
    """A folder with one real file."""
    (tmp_path / "medqa").mkdir()
    shutil.copyfile(data_dir / DEV, tmp_path / DEV)
    return tmp_path


@pytest.mark.slow
def test_real_data_as_json(data_dir: Path) -> None:
    result = run("--data", data_dir, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert len(report["files"]) == 13
    assert {each["checksum"] for each in report["files"]} == {"ok"}
    by_file = {each["file"]: each for each in report["files"]}
    validation = by_file["medmcqa/validation.jsonl.gz"]
    assert validation["labels"] == {"A": 1348, "B": 1085, "C": 925, "D": 825}
    assert validation["majority"] == pytest.approx(1348 / 4183)
    assert by_file["medqa/5options_dev.jsonl.gz"]["majority"] == pytest.approx(279 / 1272)
    assert by_file["medmcqa/test_unlabelled.jsonl.gz"]["rows"] == 6150
    assert by_file["medquad/medquad.jsonl.gz"]["rows"] == 16359
    assert report["total_rows"] == sum(each["rows"] for each in report["files"])
    notes = "\n".join(report["notes"])
    assert "MedMCQA train is partial: 1,497 of 182,822" in notes
    assert "MedQA (5 options) train is partial: 1,000 of 10,178" in notes
    assert "Ben Abacha" in notes


@pytest.mark.slow
def test_real_data_as_a_table(data_dir: Path) -> None:
    result = run("--data", data_dir)
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if " validation " in line)
    assert " ".join(row.split()) == "MedMCQA validation 4,183 A 1,348 B 1,085 C 925 D 825 0.3223"
    assert "d36f7b510705  ok" in result.stdout


def test_damaged_file_is_named_and_the_status_is_2(folder: Path) -> None:
    whole = (folder / DEV).read_bytes()
    (folder / DEV).write_bytes(whole[:-100])
    result = run("--data", folder)
    assert result.exit_code == 2
    assert f"error: {folder / DEV} is cut off" in result.stderr
    assert "damaged" in result.stdout


def test_changed_file_then_manifest(folder: Path) -> None:
    import gzip

    rows = gzip.decompress((folder / DEV).read_bytes()).splitlines(keepends=True)
    (folder / DEV).write_bytes(gzip.compress(b"".join(rows[:10])))
    result = run("--data", folder, "--json")
    assert result.exit_code == 2
    (entry,) = json.loads(result.stdout)["files"]
    assert (entry["checksum"], entry["rows"], entry["license"]) == ("mismatch", 10, "not stated")
    assert "expected fbbccc24b93e" in result.stderr

    assert run("--data", folder, "--write-manifest").exit_code == 0
    result = run("--data", folder, "--json")
    assert result.exit_code == 0
    (entry,) = json.loads(result.stdout)["files"]
    assert entry["checksum"] == "ok"
    assert "recorded by the user" in entry["origin"]


def test_manifest_of_untouched_files_keeps_licence_and_origin(folder: Path) -> None:
    assert run("--data", folder, "--write-manifest").exit_code == 0
    facts = json.loads((folder / "manifest.json").read_text())["files"][DEV]
    assert facts["license"].startswith("MIT")
    assert facts["rows"] == 1272


def test_manifest_is_not_written_for_invalid_files(folder: Path) -> None:
    import gzip

    (folder / DEV).write_bytes(gzip.compress(b'{"question": "?"}\n'))
    result = run("--data", folder, "--write-manifest")
    assert isinstance(result.exception, UserError)
    assert f"{folder / DEV}, line 1: `options` must be" in str(result.exception)
    assert "No manifest was written" in str(result.exception)
    assert not (folder / "manifest.json").exists()


def test_manifest_needs_a_folder_of_ones_own() -> None:
    for arguments in ([], ["--data", "sample"]):
        result = run(*arguments, "--write-manifest")
        assert isinstance(result.exception, UserError)
        assert "--data DIR" in str(result.exception)


def test_without_data_the_cache_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run()
    assert result.exit_code == 0
    assert "holds no data yet" in result.stdout
    assert json.loads(run("--json").stdout)["files"] == []
    monkeypatch.setenv("GALENIC_CACHE", str(folder / "cache"))
    (folder / "cache").mkdir()
    shutil.copytree(folder / "medqa", folder / "cache" / "data" / "medqa")
    (entry,) = json.loads(run("--json").stdout)["files"]
    assert entry["file"] == DEV


def test_folder_without_known_files(tmp_path: Path) -> None:
    result = run("--data", tmp_path)
    assert isinstance(result.exception, UserError)
    assert "holds none of the known files" in str(result.exception)


def test_sample() -> None:
    report = json.loads(run("--data", "sample", "--json").stdout)
    assert {each["checksum"] for each in report["files"]} == {"packaged"}
    assert sum(each["rows"] for each in report["files"] if "train" not in each["file"]) == 80


@pytest.mark.slow
def test_one_clear_error_on_the_real_command_line(tmp_path: Path) -> None:
    script = "from galenic.cli.main import main; main()"
    command = [sys.executable, "-c", script, "data", "--data", str(tmp_path / "no")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --data")
    assert "Traceback" not in done.stderr
