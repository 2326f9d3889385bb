import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from galenic.cli.main import app
from galenic.runtimes import selftest
from galenic.runtimes.selftest import SelfTest


def doctor(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.stdout


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def test_a_working_machine_passes() -> None:
    status, output = doctor("--json")
    found = json.loads(output)
    assert (status, found["ok"]) == (0, True)
    library = found["llama.cpp"]
    assert library["passed"]
    assert 0 < library["max_difference_nats"] < library["tolerance_nats"]
    assert Path(library["file"]).is_file()
    assert found["machine"]["threads_now"] >= 1


def test_it_says_whether_the_model_is_there(tmp_path: Path) -> None:
    folder = Path(json.loads(doctor("--json")[1])["cache"]["folder"])
    assert json.loads(doctor("--json")[1])["cache"]["models"]["smollm2-135m"] is False
    assert "fetched at first use" in doctor()[1]
    (folder / "models").mkdir()
    (folder / "models" / "smollm2-135m.gguf").touch()
    assert json.loads(doctor("--json")[1])["cache"]["models"]["smollm2-135m"] is True


def test_optional_packages_are_found_without_importing_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    present = {"torch": None, "transformers": None, "datasets": None, "xllamacpp": None}
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in present else find(name)
    )
    status, output = doctor("--json")
    assert json.loads(output)["optional"] == present
    assert status == 0  # they are optional
    assert "pip install 'galenic[train]'" in doctor()[1]


def test_the_table_shows_the_result() -> None:
    status, output = doctor()
    assert status == 0
    for text in ("self-test", "nats off at most", "passed", "everything that is required works"):
        assert text in output


def test_wrong_numbers_exit_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "run_self_test", lambda library: SelfTest(3.0, False, 0.1))
    status, output = doctor()
    assert status == 1
    assert "FAILED: the library computes wrong numbers" in output
    assert "not usable as it is" in output


def test_a_missing_library_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALENIC_LIBLLAMA", "/no/such/library")
    status, output = doctor("--json")
    assert (status, json.loads(output)["ok"]) == (1, False)
    assert "does not exist" in json.loads(output)["llama.cpp"]["error"]
    assert "FAILED" in doctor()[1]


def test_an_unusable_cache_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path / "file" / "folder"))
    status, output = doctor("--json")
    assert status == 1
    assert "GALENIC_CACHE" in json.loads(output)["cache"]["error"]
    assert "FAILED" in doctor()[1]
