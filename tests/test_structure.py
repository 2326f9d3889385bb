"""The shape of the house: imports point one way, imports are light, every entry loads."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import galenic
from galenic.compression.prune.base import Pruner
from galenic.compression.quantize.base import Quantizer
from galenic.data.benchmarks.base import Benchmark
from galenic.errors import UserError
from galenic.evaluation.scoring.base import Scoring
from galenic.registry import (
    BENCHMARKS,
    FINETUNERS,
    PRUNERS,
    QUANTIZERS,
    RUNTIMES,
    SCORINGS,
    Registry,
)
from galenic.runtimes.base import Runtime

PACKAGE = Path(galenic.__file__).parent
ROOT = Path(__file__).parents[1]


def contracts() -> dict[str, dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {one["id"]: one for one in settings["tool"]["importlinter"]["contracts"]}


@pytest.mark.slow
def test_imports_keep_the_contracts() -> None:
    # in a process of its own, because the linter takes over all logging
    call = "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("contract", "registry"),
    [("pruners", PRUNERS), ("quantizers", QUANTIZERS), ("finetuners", FINETUNERS)],
)
def test_the_contracts_name_every_method(contract: str, registry: Registry) -> None:
    modules = {place.split(":")[0] for place in registry.own.values()}
    assert modules <= set(contracts()[contract]["modules"])


def test_the_public_face_imports_types_only() -> None:
    assert "if TYPE_CHECKING:" in (PACKAGE / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", ["import galenic", "import galenic.cli.main"])
def test_importing_is_light(code: str) -> None:
    heavy = "torch", "transformers", "datasets", "matplotlib", "scipy", "gguf", "numpy"
    probe = f"import sys; {code}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_llama_path_loads_no_torch(tmp_path: Path) -> None:
    from tiny import write_tiny_gguf

    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    arguments = ["evaluate", str(model), "--data", "sample", "--benchmarks", "medmcqa"]
    arguments += ["--runtime", "llama", "--limit", "2", "-o", str(tmp_path / "run")]
    probe = (
        f"import sys; sys.argv = ['galenic', *{arguments!r}]\n"
        "from galenic.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "registry", [BENCHMARKS, RUNTIMES, SCORINGS, PRUNERS, QUANTIZERS], ids=lambda r: r.kind
)
def test_every_entry_loads_under_its_own_name(registry: Registry) -> None:
    kinds = {
        "benchmark": Benchmark,
        "runtime": Runtime,
        "scoring": Scoring,
        "pruning method": Pruner,
        "quantization method": Quantizer,
    }
    for name in registry:
        if name in ("torch", "encoder"):
            pytest.importorskip("torch", reason="needs the train extra")
        entry = registry.load(name)
        assert entry.name == name
        kind = kinds[registry.kind]
        assert isinstance(entry, kind) or issubclass(entry, kind)


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(UserError, match=r"unknown benchmark 'medmqa'.*Did you mean 'medmcqa'"):
        BENCHMARKS.load("medmqa")
    with pytest.raises(
        UserError, match=r"Known: generate, head, letter, text, text_per_byte"
    ) as caught:
        SCORINGS.check("zzz")
    assert "Did you mean" not in str(caught.value)


def test_no_source_file_has_grown_into_a_hall() -> None:
    sizes = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 450} == {}


def test_no_folder_is_crowded() -> None:
    sizes = Counter(str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
    assert {name: size for name, size in sizes.items() if size > 24} == {}


def test_no_room_outgrows_the_others() -> None:
    lines: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        lines[room] += len(path.read_text(encoding="utf-8").splitlines())
    assert max(lines.values()) <= 0.17 * lines.total(), lines.most_common(3)


def test_a_public_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)  # pytest tells them apart by name alone
