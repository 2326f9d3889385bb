"""More kinds of input for `benchmarks/attack.py`: what lies around a model, and what is typed."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attack_kinds import BUNDLE, CHEST, ROW, Attack, Base, Kind, is_emergency, run_is_sound
from attack_mutate import BAD_TEXTS, bytes_of, dumped, json_of, text_of

__all__ = ["MORE_KINDS"]

TINY = ("--data", "sample", "--benchmarks", "sample", "--limit", "2", "--threads", "1", "-q")


# Weights and folders of models


def no_numbers(rng: random.Random, base: Base, folder: Path) -> Attack:
    """A weight that is NaN or infinite must be found before anything is computed with it."""
    model = base.copy("hf", folder / "hf")
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    for _ in range(rng.choice((1, 1, 3))):
        name = rng.choice([one for one in header if one != "__metadata__"])
        begin, end = header[name]["data_offsets"]
        at = start + begin + 4 * rng.randrange((end - begin) // 4)
        bad = rng.choice((float("nan"), float("inf"), float("-inf")))
        data[at : at + 4] = struct.pack("<f", bad)
    path.write_bytes(data)
    out = str(folder / "out")
    words = rng.choice(
        (
            ["evaluate", str(model), *TINY, "--runtime", "torch", "--scoring", "letter"],
            ["prune", str(model), "--method", "magnitude", "-q"],
            ["quantize", str(model), "--bits", "8", "--no-importance", "-q"],
            ["merge", str(model), str(base.folder / "adapter"), "-q"],
            ["export", str(model), "--to", "llama.cpp", "-q"],
        )
    )
    return Attack([*words, "-o", out], check=lambda said: "a weight that is no number was taken")


def sharded(rng: random.Random, base: Base, folder: Path) -> Attack:
    model = base.copy("hf", folder / "hf")
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    data = (model / "model-00001-of-00001.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    names = [name for name in header if name != "__metadata__"]
    index = {
        "metadata": {"total_size": 1000},
        "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors"),
    }
    (model / "model.safetensors.index.json").write_bytes(json_of(rng, index))
    words = rng.choice(
        (
            ["inspect", str(model)],
            ["prune", str(model), "--method", "magnitude", "-o", str(folder / "p"), "-q"],
            ["evaluate", str(model), *TINY, "--runtime", "torch", "-o", str(folder / "o")],
        )
    )
    return Attack(words)


def run_gone_on_with(rng: random.Random, base: Base, folder: Path) -> Attack:
    """A run folder that was damaged, and the command that made it, once more."""
    run = base.copy("begun", folder / "run")
    path = run / rng.choice(("run.json", "records.jsonl", "items.jsonl", "timings.jsonl"))
    data = path.read_bytes()
    path.write_bytes(
        data[: rng.randrange(len(data))] if rng.random() < 0.4 else bytes_of(rng, data)
    )
    words = ["evaluate", str(base.folder / "tiny.gguf"), *TINY, "--scoring", "letter"]
    return Attack([*words, "--runtime", "llama", "-o", str(run)], check=run_is_sound(run))


def cache(rng: random.Random, base: Base, folder: Path) -> Attack:
    """What the cache remembers was damaged: it is computed anew, never believed."""
    kept = folder / "cache"
    shutil.copytree(base.folder / "cache", kept)
    files = [one for one in sorted(kept.rglob("*.json")) if one.is_file()]
    for path in rng.sample(files, min(len(files), 2)):
        path.write_bytes(json_of(rng, json.loads(path.read_bytes())))
    words = ["evaluate", str(base.folder / "tiny.gguf"), *TINY, "--runtime", "llama"]
    words += ["--scoring", "letter", "-o", str(folder / "out")]
    return Attack(_in_environment({"GALENIC_CACHE": str(kept)}, words), check=run_is_sound(folder))


def environment(rng: random.Random, base: Base, folder: Path) -> Attack:
    file = folder / "file"
    file.write_text("x")
    places = (
        "",
        ".",
        str(file),
        str(folder / "a" / "b"),
        "/proc/x",
        "~nobody/x",
        "\u202e",
        "x" * 300,
    )
    values = {
        "GALENIC_CACHE": rng.choice(places),
        "GALENIC_HOME": rng.choice(places),
        "GALENIC_DATA": rng.choice((*places, "sample")),
        "GALENIC_THREADS": rng.choice(("0", "-1", "x", "1e9", "99999999999999", "", "1.5")),
        "COLUMNS": rng.choice(("0", "-1", "x", "1", "99999")),
        "LANG": rng.choice(("C", "xx_XX.NOPE", "")),
        "TERM": rng.choice(("", "dumb", "x")),
    }
    chosen = rng.sample(sorted(values), rng.choice((1, 1, 2)))
    words = rng.choice(
        (
            ["triage", CHEST],
            ["search", "iron"],
            ["data"],
            ["doctor"],
            ["baseline"],
            ["evaluate", str(base.folder / "tiny.gguf"), "--limit", "1", "--benchmarks", "sample"],
        )
    )
    if words[0] == "evaluate":
        words = [*words, "--data", "sample", "--runtime", "llama", "-o", str(folder / "out")]
    return Attack(_in_environment({name: values[name] for name in chosen}, words))


def _in_environment(values: dict[str, str], words: list[str]) -> Callable[[], None]:
    """A command with other variables of the environment."""

    def call() -> None:
        import sys

        from galenic.cli.main import main

        os.environ.update(values)
        sys.argv = ["galenic", *words]
        main()

    return call


# Data, records, settings


EXAM = 'id,question,A,B,answer\n1,"Which vitamin?",A,B12,B\n2,"Which metal, in blood?",iron,tin,A\n'
XML = (
    '<?xml version="1.0"?><Document id="1" source="NIDDK" url="https://example.org/a"><Focus>Iron'
    '</Focus><QAPairs><QAPair pid="1"><Question>What is iron?</Question><Answer>A metal of the '
    "blood.</Answer></QAPair></QAPairs></Document>"
)


def exam(rng: random.Random, base: Base, folder: Path) -> Attack:
    suffix = rng.choice((".csv", ".csv", ".tsv", ".json", ".jsonl.zst", ".csv.gz"))
    path = folder / f"exam{suffix}"
    text = EXAM.replace(",", "\t") if suffix == ".tsv" else EXAM
    if suffix == ".json":
        path.write_bytes(json_of(rng, {"data": [ROW, {**ROW, "id": "2"}]}))
    elif suffix == ".jsonl.zst":
        import zstandard

        size = 1 << 28 if rng.random() < 0.3 else 10
        packed = zstandard.ZstdCompressor().compress(json.dumps(ROW).encode() + b"\n" * size)
        path.write_bytes(bytes_of(rng, packed) if rng.random() < 0.5 else packed)
    elif suffix == ".csv.gz":
        import gzip

        packed = gzip.compress(text.encode() + b"," * (1 << 28 if rng.random() < 0.3 else 1))
        path.write_bytes(bytes_of(rng, packed))
    else:
        path.write_bytes(text_of(rng, text).encode("utf-8", "surrogatepass"))
    words = ["evaluate", str(base.folder / "tiny.gguf"), "--benchmarks", str(path), "-q"]
    words += ["--runtime", "llama", "--threads", "1", "--scoring", "letter"]
    if rng.random() < 0.3:
        odd = rng.choice([text for text in BAD_TEXTS if "\x00" not in text])
        words += ["--map", rng.choice((f"question={odd[:99]}", "options=A+A", "=,=", odd[:99]))]
    return Attack([*words, "-o", str(folder / "out")], check=run_is_sound(folder / "out"))


def medquad(rng: random.Random, base: Base, folder: Path) -> Attack:
    path = folder / "MedQuAD.zip"
    way = rng.randrange(5)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if way == 0:
            for number in range(40):
                archive.writestr(f"a/{number}.xml", XML.encode() + b" " * 19_000_000)
        elif way == 1:
            deep = "<a>" * rng.choice((100, 200_000))
            archive.writestr("a.xml", deep)
        elif way == 2:
            bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>'
            encoding = rng.choice(("utf-8", "utf-16"))
            archive.writestr("a.xml", bomb.encode(encoding))
        else:
            archive.writestr("a.xml", text_of(rng, XML).encode("utf-8", "surrogatepass"))
    if way == 4:
        path.write_bytes(bytes_of(rng, path.read_bytes()))
    home = folder / "home"
    return Attack(["index", "medquad", "--from", str(path), "-q"], home)


def data_folder(rng: random.Random, base: Base, folder: Path) -> Attack:
    """The benchmark files as Galenic keeps them."""
    import gzip

    import galenic.data

    sample = Path(galenic.data.__file__).parent / "sample"
    for name, file in (
        ("pubmedqa/pubmedqa_labeled.jsonl.gz", "pubmedqa.jsonl"),
        ("medmcqa/medmcqa_validation.jsonl.gz", "medmcqa.jsonl"),
        ("medqa/medqa_4options_test.jsonl.gz", "medqa_4options.jsonl"),
    ):
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (sample / file).read_bytes().splitlines()[:4]
        at = rng.randrange(len(lines))
        lines[at] = json_of(rng, json.loads(lines[at]))
        raw = gzip.compress(b"\n".join(lines))
        path.write_bytes(bytes_of(rng, raw) if rng.random() < 0.3 else raw)
    data = str(folder / "data")
    words = rng.choice((["data", "--data", data], ["baseline", "--data", data, "--json"]))
    return Attack(words)


def health_record(rng: random.Random, base: Base, folder: Path) -> Attack:
    """Whatever lies in a record or in notes: an emergency is called one, or the file refused."""
    path = folder / rng.choice(("record.json", "notes.txt", "record.ndjson"))
    if path.suffix == ".txt":
        path.write_bytes(bytes_of(rng, b"Asthma. Takes metformin 500 mg twice a day.\n" * 30))
    elif path.suffix == ".json":
        path.write_bytes(json_of(rng, BUNDLE))
    else:
        rows = [one.get("resource") for one in BUNDLE["entry"] if isinstance(one, dict)]
        path.write_bytes(b"\n".join(json_of(rng, row) for row in rows if row))
    model = ["-m", str(base.folder / "tiny.gguf")]

    def check(said: str) -> str | None:
        events = json.loads(said)
        found = [one for one in events if one["event"] == "triage"]
        return is_emergency(json.dumps(found[-1])) if found else "no triage"

    words = ["ask", CHEST, "--context", str(path), "--json", *model]
    return Attack(words, base.folder / "home", check)


RULES = """\
version: 1
rules:
- id: chest
  tier: emergency
  any: [chest pain]
  source: https://www.nhs.uk/conditions/chest-pain/
"""
FEDERATION = """\
rounds: 1
clients:
- {name: a, train: a.jsonl}
- {name: b, train: b.jsonl, weight: 2}
"""


def settings(rng: random.Random, base: Base, folder: Path) -> Attack:
    """Files of rules and of clients."""
    rules = rng.random() < 0.6
    text = text_of(rng, RULES if rules else FEDERATION)
    if rng.random() < 0.5:
        value = rng.choice(("-1", ".nan", "[]", "{}", "'(a+)+$'", "'('", "~", "1e400", "'../x'"))
        old = rng.choice(("emergency", "[chest pain]", "chest", "1", "2", "a.jsonl", "{name: a"))
        text = text.replace(old, value)
    path = folder / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    if rules:
        return Attack(["triage", "My knee hurts.", "--rules", str(path), "--json"])

    def call() -> None:
        from galenic.training.federated.clients import read_federation

        read_federation(path)

    return Attack(call)


def imatrix(rng: random.Random, base: Base, folder: Path) -> Attack:
    """Importance from llama.cpp's file, which is a GGUF: here ours, and damaged."""
    path = folder / "imatrix.gguf"
    data = (base.folder / "imatrix.gguf").read_bytes()
    path.write_bytes(bytes_of(rng, data, near=rng.choice((64, 2000, len(data)))))
    words = ["quantize", str(base.folder / "hf"), "--imatrix", str(path), "--bits", "4", "-q"]
    return Attack([*words, "-o", str(folder / "q")])


# What is typed


ODD = (
    "",
    " ",
    "-1",
    "0",
    "nan",
    "inf",
    "1e999",
    "[/red]",
    "a=b,c",
    "(a+)+$",
    "{",
    "None",
    "\u202e",
)
NOT_HERE = {"output", "log_file", "data", "text", "context", "rules", "model", "port", "host"}
STARTS = {
    "evaluate": ["evaluate", "TINY", "--data", "sample", "--benchmarks", "sample", "--limit", "1"],
    "inspect": ["inspect", "TINY"],
    "compare": ["compare", "RUN", "RUN2"],
    "report": ["report", "RUN"],
    "baseline": ["baseline", "--data", "sample"],
    "plan": ["plan", "HF", "--no-probe"],
    "prune": ["prune", "HF", "--method", "magnitude"],
    "quantize": ["quantize", "HF", "--no-importance", "--bits", "8"],
    "export": ["export", "HF", "--to", "llama.cpp"],
    "search": ["search", "iron"],
    "ask": ["ask", "Does iron help?", "-m", "TINY"],
    "triage": ["triage", "My knee hurts."],
    "perplexity": ["perplexity", "TINY", "--text", "TEXT", "--num-samples", "1", "--seq-len", "32"],
    "scan": ["scan", "--train", "EXAM", "--against", "sample"],
    "index": ["index", "NOTES"],
    "status": ["status", "STUDY"],
    "data": ["data", "--data", "sample"],
}
WRITES = ("evaluate", "report", "prune", "quantize", "export")


def words(rng: random.Random, base: Base, folder: Path) -> Attack:
    """One option of a command gets a value that makes no sense."""
    import typer

    from galenic.cli.main import app

    name = rng.choice(sorted(STARTS))
    command: Any = typer.main.get_command(app)
    options = [
        one
        for one in command.commands[name].params
        if one.param_type_name == "option" and one.name not in NOT_HERE and not one.is_flag
    ]
    (folder / "text.txt").write_text("The patient has a fever. " * 400)
    (folder / "exam.jsonl").write_text(json.dumps(ROW))
    places = {"TINY": "tiny.gguf", "HF": "hf", "RUN": "run", "RUN2": "run2", "NOTES": "notes"}
    named = {key: str(base.folder / value) for key, value in (places | {"STUDY": "study"}).items()}
    named |= {"TEXT": str(folder / "text.txt"), "EXAM": str(folder / "exam.jsonl")}
    line = [named.get(word, word) for word in STARTS[name]]
    if options:
        option = rng.choice(options)
        line += [option.opts[-1], rng.choice(ODD)]
    if name in WRITES:
        line += ["-o", str(folder / "out")]

    def call() -> None:
        os.chdir(folder)
        _in_environment({}, [*line, "-q"])()

    return Attack(call, base.copy("home", folder / "home"))


def history(rng: random.Random, base: Base, folder: Path) -> Attack:
    home = base.copy("home", folder / "home")
    rows = [{"question": "Does iron help?", "tier": "days", "answer": ["Iron helps."]}] * 2
    data = b"\n".join(json_of(rng, row) if rng.random() < 0.6 else dumped(row) for row in rows)
    (home / "assistant" / "history.jsonl").write_bytes(data + b"\n")
    return Attack(["chat", "--history", "-m", str(base.folder / "tiny.gguf")], home)


MORE_KINDS = (
    Kind("weights that are no numbers", no_numbers, 0.5),
    Kind("sharded folder", sharded, 0.4),
    Kind("run gone on with", run_gone_on_with, 0.4),
    Kind("cache", cache, 0.3),
    Kind("environment", environment, 0.3),
    Kind("exam", exam, 0.5),
    Kind("MedQuAD", medquad, 0.3),
    Kind("data folder", data_folder, 0.3),
    Kind("health record", health_record, 0.3),
    Kind("rules and clients", settings, 0.3),
    Kind("importance file", imatrix, 0.3),
    Kind("words", words, 0.5),
    Kind("history", history, 0.2),
)
