"""Kinds of input that `benchmarks/attack.py` damages, and what may never come of them.

Each kind makes an input and says what is called with it: a command line, or a function. Where the
call succeeds, a check looks at what came of it.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import random
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attack_mutate import BAD_TEXTS, bytes_of, dumped, json_of, json_value, text_of, value_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "record"))
from fhir_bundle import BUNDLE

from commands import GALENIC
from raw_gguf import ARRAY, STRING, RawGguf
from runs import write_run
from studies import write_study
from tiny import CHAT_TEMPLATE, write_tiny_gguf
from tiny_hf import write_tiny_adapter, write_tiny_hf

__all__ = [
    "BUNDLE",
    "CHEST",
    "KINDS",
    "ROW",
    "Attack",
    "Base",
    "Kind",
    "is_emergency",
    "make_base",
    "run_is_sound",
]

Call = "list[str] | Callable[[], Any]"


@dataclass
class Attack:
    """An input that was made.

    Attributes:
        call: words of a command line, or a function.
        home: folder of the assistant; None for one without an index.
        check: takes what the command printed; a text says what is wrong.
    """

    call: Any
    home: Path | None = None
    check: Callable[[str], str | None] = lambda said: None


@dataclass(frozen=True)
class Base:
    """Good inputs, made once, and a folder for what is made of them."""

    folder: Path

    def copy(self, name: str, target: Path) -> Path:
        source = self.folder / name
        return Path((shutil.copytree if source.is_dir() else shutil.copy)(source, target))


@dataclass(frozen=True)
class Kind:
    name: str
    make: Callable[[random.Random, Base, Path], Attack]
    share: float = 1.0


def make_base(folder: Path) -> Base:
    """Write a good input of every kind."""
    write_tiny_gguf(folder / "tiny.gguf")
    write_tiny_hf(folder / "hf", "llama", hidden_size=32)
    write_wide(folder / "wide")
    write_run(folder / "run", num_items=12)
    write_run(folder / "run2", num_items=12, seed=1)
    write_study(folder / "study")
    notes = folder / "notes"
    notes.mkdir()
    (notes / "iron.txt").write_text("Anaemia\n\nIron helps where the blood has too little.\n" * 9)
    (notes / "page.html").write_text("<html><h1>Iron</h1><p>Iron helps.</p></html>")
    write_tiny_adapter(folder / "adapter")
    _called(["pack", str(folder / "hf"), "-o", str(folder / "hf.galenic"), "-q"])
    os.environ["GALENIC_HOME"] = str(folder / "home")
    _called(["index", str(notes), "-q"])
    tiny = ["evaluate", str(folder / "tiny.gguf"), "--data", "sample", "--benchmarks", "sample"]
    tiny += ["--limit", "2", "--threads", "1", "--scoring", "letter", "--runtime", "llama", "-q"]
    _called([*tiny, "-o", str(folder / "begun")])
    text = folder / "text.txt"
    text.write_text("The patient has a fever and a cough. " * 400)
    words = ["quantize", str(folder / "hf"), "--text", str(text), "--num-samples", "2", "--bits"]
    words += ["4", "--seq-len", "32", "--save-imatrix", str(folder / "imatrix.gguf"), "-q"]
    _called([*words, "-o", str(folder / "quantized")])
    if Path(os.environ["GALENIC_CACHE"]).is_dir():
        shutil.copytree(os.environ["GALENIC_CACHE"], folder / "cache")
    return Base(folder)


def write_wide(folder: Path) -> None:
    """The tiny folder with room for whole questions."""
    write_tiny_hf(folder, "llama", hidden_size=32)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = 8192
    (folder / "config.json").write_text(json.dumps(config))


def _called(words: list[str]) -> None:
    import subprocess

    done = subprocess.run([*GALENIC, *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"galenic {' '.join(words)}: {done.stderr}")


# Checks


def run_is_sound(folder: Path) -> Callable[[str], str | None]:
    """Records of a run are JSON without NaN, and their probabilities sum to one."""

    def check(said: str) -> str | None:
        path = folder / "records.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            found = json.loads(line, parse_constant=lambda name: math.nan)
            values = list(found["probabilities"].values())
            if values and not abs(sum(values) - 1) < 1e-4:
                return f"probabilities sum to {sum(values)}"
        return None

    return check


def is_json(said: str) -> str | None:
    try:
        json.loads(said)
    except ValueError:
        return "no JSON was printed"
    return None


def same_files(found: Path, wanted: Path) -> Callable[[str], str | None]:
    """What was unpacked is what was packed."""

    def check(said: str) -> str | None:
        names = {p.relative_to(wanted) for p in wanted.rglob("*") if p.is_file()}
        there = {p.relative_to(found) for p in found.rglob("*") if p.is_file()}
        if there - names:
            return None  # other names: the list may say so
        for name in there:
            if (found / name).read_bytes() != (wanted / name).read_bytes():
                return f"{name} is another file than was packed"
        return None

    return check


def is_emergency(said: str) -> str | None:
    found = json.loads(said)
    return None if found.get("tier") == "emergency" else f"tier {found.get('tier')}"


# Models


def _evaluate(model: Path, folder: Path, *more: str) -> Attack:
    words = ["evaluate", str(model), "--data", "sample", "--benchmarks", "sample", "--limit", "1"]
    words += ["--threads", "1", "-o", str(folder / "out"), "-q", *more]
    return Attack(words, check=run_is_sound(folder / "out"))


def _use_gguf(rng: random.Random, path: Path, folder: Path) -> Attack:
    way = rng.randrange(6)
    if way < 2:
        return Attack(["inspect", str(path), "--json"], check=is_json)
    if way == 2:
        return Attack(["pack", str(path), "-o", str(folder / "x.galenic"), "-q"])
    if way == 3:
        return Attack(["export", str(path), "--to", "ollama", "-o", str(folder / "o"), "-q"])
    return _evaluate(path, folder, "--runtime", "llama", "--scoring", "letter")


def gguf_bytes(rng: random.Random, base: Base, folder: Path) -> Attack:
    data = (base.folder / "tiny.gguf").read_bytes()
    path = folder / "m.gguf"
    path.write_bytes(bytes_of(rng, data, near=rng.choice((64, 10_000, len(data)))))
    return _use_gguf(rng, path, folder)


def gguf_fields(rng: random.Random, base: Base, folder: Path) -> Attack:  # noqa: PLR0912
    raw = RawGguf.read(base.folder / "tiny.gguf")
    for _ in range(rng.choice((1, 1, 2))):
        entry = rng.choice(raw.entries)
        way = rng.randrange(5)
        if way == 0:
            raw.entries.remove(entry)
        elif entry.kind == ARRAY:
            at = rng.randrange(len(entry.value))
            if way == 1:
                entry.value = entry.value[:at]
            elif entry.items == STRING:
                entry.value[at] = rng.choice((entry.value[0], b"", b"\xff", b"x" * 10_000, b" "))
            else:
                entry.value[at] = rng.choice((0, 99, -1, 2**31 - 1)) if entry.items == 5 else 0
        elif entry.kind == STRING:
            new = [b"", b"none", b"llama", b"bert", b"\xff\x00", b"x" * 100_000, b"{{ 9**(9**9) }}"]
            entry.value = rng.choice(new)
        elif entry.kind == 6:
            entry.value = rng.choice((0.0, -1.0, math.nan, math.inf, 1e38, 1e-38))
        elif entry.kind == 4:
            entry.value = rng.choice((0, 1, 3, 2**31 - 1, 2**31, 2**32 - 1, entry.value * 2))
        if way == 4:
            rows = rng.choice(raw.rows)
            part = rng.randrange(3)
            if part == 0:
                rows.offset = rng.choice((0, 1, 32, 2**63, 2**64 - 32, rows.offset + 32))
            elif part == 1:
                rows.dims = rng.choice(([0], [1], [2**62, 4], [32, 32, 32], rows.dims[::-1], []))
            else:
                rows.kind = rng.choice((0, 1, 2, 8, 12, 14, 30, 99, 2**32 - 1))
    if rng.random() < 0.1:
        raw.weights = bytes_of(rng, raw.weights)
    try:
        path = raw.write(folder / "m.gguf")
    except Exception:  # noqa: BLE001 - a value that its type cannot hold
        path = base.copy("tiny.gguf", folder / "m.gguf")
    return _use_gguf(rng, path, folder)


TEMPLATES = (
    CHAT_TEMPLATE,
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "{{ messages[0].content | replace('', 'x') | center(10**9) }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ 'a' * 10**9 }}",
    "{{ messages | map(attribute='content') | list | tojson }}{{ strftime_now('%Y' * 10000) }}",
)


def chat_template(rng: random.Random, base: Base, folder: Path) -> Attack:
    template = text_of(rng, rng.choice(TEMPLATES)) if rng.random() < 0.8 else rng.choice(TEMPLATES)
    talk = [{"role": rng.choice(("user", "system", "")), "content": rng.choice(BAD_TEXTS)}]

    def call() -> None:
        from galenic.evaluation.chat.render import render_chat
        from galenic.limits import TEMPLATE_OUTPUT

        found = render_chat(template, talk, {"bos_token": "<s>"})
        if not isinstance(found, str) or len(found) > TEMPLATE_OUTPUT:
            raise AssertionError("more than is allowed")

    return Attack(call)


def _use_folder(rng: random.Random, model: Path, folder: Path) -> Attack:
    way = rng.randrange(7)
    if way < 3:
        return Attack(["inspect", str(model), "--json"], check=is_json)
    if way == 3:
        return Attack(["pack", str(model), "-o", str(folder / "x.galenic"), "-q"])
    if way == 4:
        words = ["quantize", str(model), "--method", "kquant", "--bits", "8", "-q"]
        return Attack([*words, "--no-calibration", "-o", str(folder / "q")])
    if way == 5:
        words = ["prune", str(model), "--method", "magnitude", "--sparsity", "0.5", "-q"]
        return Attack([*words, "-o", str(folder / "p")])
    return _evaluate(model, folder, "--runtime", "torch", "--scoring", "letter")


def safetensors(rng: random.Random, base: Base, folder: Path) -> Attack:
    model = base.copy("hf", folder / "hf")
    path = model / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.5:
        path.write_bytes(bytes_of(rng, data, near=rng.choice((8, 8 + length, len(data)))))
    else:
        header = json_of(rng, json.loads(data[8 : 8 + length]))
        path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    return _use_folder(rng, model, folder)


def config(rng: random.Random, base: Base, folder: Path) -> Attack:
    model = base.copy("hf", folder / "hf")
    path = model / "config.json"
    value = json.loads(path.read_text())
    if rng.random() < 0.5 and isinstance(value, dict):
        value[rng.choice(list(value))] = value_of(rng, rng.choice(list(value.values())))
        text = dumped(value)
    else:
        text = json_of(rng, value)
    path.write_bytes(text)
    return _use_folder(rng, model, folder)


def tokenizer(rng: random.Random, base: Base, folder: Path) -> Attack:
    model = base.copy("hf", folder / "hf")
    path = model / rng.choice(("tokenizer.json", "tokenizer.json", "tokenizer_config.json"))
    value = json.loads(path.read_text())
    text = json_of(rng, value)
    if path.name == "tokenizer.json" and rng.random() < 0.3:
        value["model"]["vocab"] = json_value(rng, value["model"]["vocab"])
        text = dumped(value)
    path.write_bytes(text)
    return _use_folder(rng, model, folder)


def adapter(rng: random.Random, base: Base, folder: Path) -> Attack:
    made = base.copy("adapter", folder / "a")
    path = made / rng.choice(("adapter_config.json", "adapter_model.safetensors"))
    data = path.read_bytes()
    if path.suffix == ".json":
        path.write_bytes(json_of(rng, json.loads(data)))
    else:
        path.write_bytes(bytes_of(rng, data, near=rng.choice((900, len(data)))))
    words = ["merge", str(base.folder / "hf"), str(made), "-o", str(folder / "merged"), "-q"]
    return Attack(words)


# Data and settings


ROW = {"id": "1", "question": "Which vitamin?", "options": {"A": "A", "B": "B12"}, "answer": "B"}


def jsonl(rng: random.Random, base: Base, folder: Path) -> Attack:
    rows = [json_of(rng, ROW) if rng.random() < 0.5 else json.dumps(ROW).encode() for _ in range(3)]
    data = b"\n".join(rows)
    way = rng.randrange(6)
    path = folder / "exam.jsonl"
    if way == 0:
        data = b'{"a":' * 100_000
    elif way == 1:
        data = b'{"id": "' + b"x" * 120_000_000 + b'"}' if rng.random() < 0.2 else b"\x00" * 1000
    elif way == 2:
        path = folder / "exam.jsonl.gz"
        data = gzip.compress(data)
        if rng.random() < 0.3:
            data = gzip.compress(gzip.compress(bytes(1 << 28)))
        elif rng.random() < 0.3:
            data = gzip.compress(b" " * (1 << 29), 9)
        else:
            data = bytes_of(rng, data)
    path.write_bytes(data)
    if rng.random() < 0.5:
        words = ["scan", "--train", str(path), "--against", "sample", "-q", "--json"]
        return Attack([*words, "-o", str(folder / "scan.json")])
    words = ["evaluate", str(base.folder / "tiny.gguf"), "--data", str(path), "--threads", "1"]
    return Attack([*words, "-o", str(folder / "out"), "-q"], check=run_is_sound(folder / "out"))


RECIPE = """\
name: mine
description: One stage.
stages:
- {stage: prune, method: wanda, sparsity: 0.5}
- {stage: finetune, method: lora, rank: 4, targets: "q_proj|v_proj", train: sample}
- {stage: quantize, method: kquant, bits: 4}
"""
STUDY = """\
name: small
description: d
calibration: {num_samples: 4, seq_len: 32}
evaluate: {benchmarks: [sample], scoring: [letter]}
measures: [answers]
rows:
- {name: dense}
- {name: pruned, stages: [{stage: prune, method: wanda, sparsity: 0.3}]}
"""
YAMLS = (
    "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(9)),
    "".join(f"k{i}: 1\n" for i in range(40_000)),
    "[" * 3000,
    "a: !!python/object/apply:os.system ['id']\n",
    "? [a]\n: b\n",
    "a: 1" + "0" * 9999,
    "2020-99-99: 1\n",
    "a: 0x\n",
    "- !!binary '='\n",
    "a: !!timestamp x\n",
    "a: .nan\nb: .inf\n",
)


def yaml_file(rng: random.Random, base: Base, folder: Path) -> Attack:
    recipe = rng.random() < 0.6
    text = text_of(rng, RECIPE if recipe else STUDY)
    if rng.random() < 0.3:
        text = rng.choice(YAMLS)
    elif rng.random() < 0.3:
        number = rng.choice(("-1", ".nan", "1e400", "0", "[]", "{}", "'(a+)+$'", "true", "~"))
        for old in rng.sample(("0.5", "wanda", "4", "q_proj|v_proj", "prune", "sample"), 2):
            text = text.replace(old, number)
    path = folder / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    model = str(base.folder / "hf")
    if recipe:
        return Attack(["compress", model, "-r", str(path), "-o", str(folder / "c"), "-q"])

    def call() -> None:  # no study is run: that would take minutes
        from galenic.study.graph import StudyTexts, build_graph
        from galenic.study.grid import read_study

        build_graph(read_study(str(path)).with_changes(models=[model]), StudyTexts("sample", None))

    return Attack(call)


def pack_file(rng: random.Random, base: Base, folder: Path) -> Attack:
    path = folder / "x.galenic"
    data = (base.folder / "hf.galenic").read_bytes()
    if rng.random() < 0.4:
        path.write_bytes(bytes_of(rng, data, near=rng.choice((100, len(data)))))
    else:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "index.json":
                    index = json.loads(content)
                    files = index["files"]
                    first = next(iter(files))
                    way = rng.randrange(6)
                    if way == 0:
                        files[rng.choice(BAD_TEXTS)] = files.pop(first)
                    elif way == 1:
                        files[f"{first}/x"] = files[first]
                    elif way == 2:
                        index = json_value(rng, index)
                    elif way == 3 and files[first]["parts"]:
                        files[first]["parts"] = files[first]["parts"] * 100_000
                    elif way == 4:
                        part = {"start": 0, "size": 1 << 26, "record": 1, "floating": False}
                        files[first] |= {"size": 1 << 26, "parts": [part | {"sparse": True}]}
                    content = dumped(index)
                    if way == 5:
                        content = b" " * (1 << 28) + content
                        new.writestr(name, content, zipfile.ZIP_DEFLATED)
                        continue
                elif rng.random() < 0.05:
                    content = bytes_of(rng, content)
                new.writestr(name, content)
        path.write_bytes(out.getvalue())
    target = folder / "u"
    check = same_files(target, base.folder / "hf")
    return Attack(["unpack", str(path), "-o", str(target), "-q"], check=check)


# Documents, records, folders


PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]"
    b"/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R/MediaBox[0 0 99 99]>>endobj"
    b"\n4 0 obj<</Length 33>>stream\nBT /F1 9 Tf (Iron helps) Tj ET\nendstream endobj\n"
    b"xref\n0 5\n0000000000 65535 f \ntrailer<</Root 1 0 R/Size 5>>\nstartxref\n9\n%%EOF"
)


def document(rng: random.Random, base: Base, folder: Path) -> Attack:
    notes = folder / "notes"
    notes.mkdir()
    way = rng.randrange(6)
    if way == 0:
        (notes / "a.pdf").write_bytes(bytes_of(rng, PDF))
    elif way == 1:
        loop = PDF.replace(b"[3 0 R]", b"[2 0 R 3 0 R]").replace(b"/Count 1", b"/Count 999999999")
        (notes / "a.pdf").write_bytes(bytes_of(rng, loop))
    elif way == 2:
        html = "<div>" * rng.choice((5, 100_000)) + "<p>Iron helps.</p><script>x</script>"
        (notes / "a.html").write_bytes(text_of(rng, html).encode("utf-8", "surrogatepass"))
    elif way == 3:
        (notes / "a.txt").write_bytes(bytes_of(rng, b"Iron helps in anaemia.\n" * 50))
    elif way == 4:
        (notes / "a.txt").write_bytes(gzip.compress(bytes(1 << 20)))
        (notes / "b.md").write_text("# [/red]\n" * 100 + "x" * 1_000_000)
    else:
        (notes / "a.json").write_bytes(json_of(rng, BUNDLE))
    name = rng.choice(("notes", "[bold]", "a b", "\u202e"))
    target = folder / name if name == "notes" else notes.rename(folder / name)
    return Attack(["index", str(target), "-q"], folder / "home")


def fhir(rng: random.Random, base: Base, folder: Path) -> Attack:
    data = json_of(rng, BUNDLE)

    def call() -> None:
        from galenic.record.fhir import read_record
        from galenic.retrieval.documents.base import SkipError

        try:
            found = read_record(data, "record.json")
        except SkipError:
            return
        for line in found.document.lines:
            line.text.encode()

    return Attack(call)


def run_folder(rng: random.Random, base: Base, folder: Path) -> Attack:
    run = base.copy("run", folder / "run")
    path = run / rng.choice(("run.json", "records.jsonl", "items.jsonl", "timings.jsonl"))
    data = path.read_bytes()
    if path.suffix == ".json":
        path.write_bytes(json_of(rng, json.loads(data)))
    elif rng.random() < 0.5:
        path.write_bytes(bytes_of(rng, data))
    else:
        lines = data.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = json_of(rng, json.loads(lines[at]))
        path.write_bytes(b"\n".join(lines) + b"\n")
    if rng.random() < 0.5:
        return Attack(["report", str(run), "-o", str(folder / "r"), "-q"])
    return Attack(["compare", str(run), str(base.folder / "run2"), "-q"])


def study_folder(rng: random.Random, base: Base, folder: Path) -> Attack:
    study = base.copy("study", folder / "study")
    files = [p for p in sorted(study.rglob("*.json")) if p.is_file()]
    path = rng.choice([study / "study.json", *files])
    path.write_bytes(json_of(rng, json.loads(path.read_bytes())))
    if rng.random() < 0.6:
        return Attack(["status", str(study), *rng.choice(([], ["--json"]))])
    return Attack(["report", str(study), "-o", str(folder / "r"), "-q"])


def artifact(rng: random.Random, base: Base, folder: Path) -> Attack:
    model = base.copy("hf", folder / "hf")
    stage = {
        "stage": "prune",
        "method": "wanda",
        "reference_url": "https://example.org",
        "options": {"sparsity": 0.5},
        "parent": {"name": "[/red]", "sha256": "0" * 64},
        "calibration": None,
        "parameters": {"before": {"total": 1}, "after": {"total": 1}},
        "removed": {"whole": 0.5},
        "checks": {},
        "versions": {"python": "3"},
    }
    manifest = {"format": 1, "stages": [stage], "files": {}}
    (model / "manifest.json").write_bytes(json_of(rng, manifest))
    if rng.random() < 0.5:
        return Attack(["inspect", str(model), *rng.choice(([], ["--json"]))])
    return Attack(["prune", str(model), "--method", "magnitude", "-o", str(folder / "p"), "-q"])


def index_file(rng: random.Random, base: Base, folder: Path) -> Attack:
    home = base.copy("home", folder / "home")
    path = home / "assistant" / "index.sqlite"
    if rng.random() < 0.5:
        data = path.read_bytes()
        path.write_bytes(bytes_of(rng, data, near=rng.choice((100, len(data)))))
    else:
        _rot(rng, path)
    ask = ["ask", "Does iron help?", "-m", str(base.folder / "tiny.gguf")]
    words = rng.choice((["search", "iron anaemia", "--json"], ["index", "--list"], ask))
    return Attack(words, home)


def _rot(rng: random.Random, path: Path) -> None:
    with sqlite3.connect(path) as database:
        names = "SELECT name FROM sqlite_master WHERE type='table' AND sql IS NOT NULL"
        tables = [row[0] for row in database.execute(names)]
        table = rng.choice(tables)
        columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
        column = rng.choice(columns)
        new = rng.choice((None, "x", -1, 2**62, b"\xff\x00", 1.5, "\x00", "[/red]"))
        try:
            database.execute(f'UPDATE "{table}" SET "{column}" = ?', (new,))
        except sqlite3.Error:
            database.execute(f'DELETE FROM "{table}"')


CHEST = "I have crushing chest pain and I cannot breathe."


def question(rng: random.Random, base: Base, folder: Path) -> Attack:
    noise = rng.choice([text for text in BAD_TEXTS if "\x00" not in text and len(text) < 5000])
    if rng.random() < 0.6:
        text = f"{noise}\n{CHEST}" if rng.random() < 0.5 else f"{CHEST}\n{noise}"
        return Attack(["triage", text, "--json"], check=is_emergency)
    text = text_of(rng, "What helps against iron deficiency?").replace("\x00", "")
    model = ["-m", str(base.folder / "tiny.gguf")]
    name = rng.choice(("triage", "ask", "search"))
    words = [name, text or "?", "--json", *(model if name == "ask" else [])]
    return Attack(words, base.folder / "home")


KINDS = (
    Kind("GGUF, bytes", gguf_bytes),
    Kind("GGUF, fields", gguf_fields, 1.5),
    Kind("chat template", chat_template, 0.7),
    Kind("safetensors", safetensors),
    Kind("config.json", config),
    Kind("tokenizer", tokenizer, 0.7),
    Kind("adapter", adapter, 0.7),
    Kind("JSON lines", jsonl),
    Kind("YAML", yaml_file),
    Kind("packed model", pack_file),
    Kind("document", document, 0.7),
    Kind("FHIR", fhir),
    Kind("run folder", run_folder),
    Kind("study folder", study_folder, 0.7),
    Kind("artifact", artifact, 0.7),
    Kind("index", index_file, 0.7),
    Kind("question", question),
)
