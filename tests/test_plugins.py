"""Entry points of other packages: the package of docs/extend.md is installed and used."""

from __future__ import annotations

import json
import logging
import re
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from commands import galenic
from galenic import registry
from galenic.errors import UserError
from galenic.registry import Registry
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")

PAGE = Path(__file__).parents[1] / "docs" / "extend.md"
REGISTRIES = {
    one.group: one for one in vars(registry).values() if isinstance(one, Registry) and one.group
}


def block(language: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None, language
    return found[1]


def install(target: Path, points: dict[str, dict[str, str]], name: str = "my-methods") -> None:
    """What an installer writes of a package's entry points."""
    info = target / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = (
        f"[{group}]\n" + "".join(f"{one} = {place}\n" for one, place in entries.items())
        for group, entries in points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, installed in a folder, and beside it one that is broken."""
    target = tmp_path_factory.mktemp("installed")
    (target / "my_methods").mkdir()
    (target / "my_methods" / "__init__.py").touch()
    (target / "my_methods" / "methods.py").write_text(block("python"), encoding="utf-8")
    (target / "my_methods" / "colours.jsonl").write_text(block("json"), encoding="utf-8")
    install(target, tomllib.loads(block("toml"))["project"]["entry-points"])
    (target / "worn.py").write_text("raise OSError('worn out')\n", encoding="utf-8")
    install(target, {"galenic.pruners": {"worn": "worn:Method"}}, "worn-methods")
    return target


@pytest.mark.slow
def test_the_package_of_the_page_is_used_from_the_command_line(
    package: Path, tmp_path: Path
) -> None:
    assert len(block("python").split("class RandomZeros")[1].split("COLOURS")[0].splitlines()) < 30
    path = str(Path(registry.__file__).parents[1])
    environment = {"PYTHONPATH": f"{package}{':' if sys.platform != 'win32' else ';'}{path}"}
    model = write_tiny_hf(tmp_path / "model", "llama")
    out = tmp_path / "sparse"
    call = ["prune", model, "--method", "random", "--sparsity", "0.2", "--lot", "3", "-o", out]
    done = galenic(*call, fresh=True, **environment)
    assert done.returncode == 0, done.stderr
    assert "'worn' of the package worn-methods does not load (OSError: worn out)" in done.stderr
    assert done.stderr.count("worn out") == 1
    stage = json.loads((out / "manifest.json").read_text())["stages"][-1]
    assert (stage["method"], stage["options"]["lot"]) == ("random", 3)
    assert stage["removed"]["blocks"] == pytest.approx(0.2, abs=0.01)
    call = ["evaluate", out, "--benchmarks", "colours", "--scoring", "shout", "--threads", "1"]
    done = galenic(*call, "-o", tmp_path / "run", **environment)
    assert done.returncode == 0, done.stderr
    records = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["scoring"] for line in records] == ["shout"] * 2
    assert {json.loads(line)["benchmark"] for line in records} == {"colours"}
    done = galenic("prune", model, "--method", "worn", "-o", tmp_path / "no", **environment)
    assert done.returncode == 2
    assert "Mend or uninstall it." in done.stderr


def pointed(kind: Registry, **points: str) -> Registry:
    """The registry as it is with these entry points installed."""
    made = Registry(kind.kind, kind.own, kind.group)
    made.plugins = {
        name: EntryPoint(name, place, str(kind.group)) for name, place in points.items()
    }
    return made


@pytest.mark.parametrize("group", REGISTRIES)
def test_every_registry_takes_entry_points(
    group: str, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package))
    install_at = package / group.replace(".", "_")
    if not install_at.exists():
        install(install_at, {group: {"taken": "my_methods.methods:Shout"}}, f"of-{group}")
    monkeypatch.syspath_prepend(str(install_at))
    fresh = Registry(REGISTRIES[group].kind, REGISTRIES[group].own, group)
    assert "taken" in fresh
    assert fresh.check("taken") == "taken"
    with pytest.raises(UserError, match="calls itself 'shout'"):
        fresh.load("taken")


def test_eight_registries_take_plug_ins() -> None:
    kinds = "benchmarks pruners quantizers finetuners runtimes scorings exporters engines"
    assert set(REGISTRIES) == {f"galenic.{kind}" for kind in kinds.split()}


def test_names_of_galenic_stay_galenics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, {"galenic.scorings": {"letter": "somewhere:Else"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh = Registry("scoring", registry.SCORINGS.own, "galenic.scorings")
    with caplog.at_level(logging.WARNING):
        assert list(fresh) == list(registry.SCORINGS.own)
    assert "'letter' of the package my-methods is skipped: the name is taken" in caplog.text
    assert fresh.load("letter").__module__.startswith("galenic.")


def test_a_broken_one_is_named_once_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    fresh = pointed(registry.SCORINGS, gone="no_such_module:Thing")
    with caplog.at_level(logging.WARNING):
        assert "gone" not in list(fresh)
        assert "gone" not in list(fresh)
    assert caplog.text.count("does not load (ModuleNotFoundError") == 1
