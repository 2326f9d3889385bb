"""Pack a trained adapter as a dose of the package, which `galenic pull NAME` makes a model of.

    galenic finetune smollm2-135m --data benchmarks:train -o adapter/
    python tools/pack_dose.py adapter/ --name medical-135m --data DIR \
        --description "Answers medical questions." --source "PubMedQA folds (MIT)"

What the adapter leaves alone stays as it is in the base, bit for bit, but for the head. What it
changes takes a type with finer levels than the base's: rounded to the levels that the base lies on,
most of an adapter is gone, for it moves weights by less than half a step.

What goes into ``src/galenic/doses/NAME``: the adapter in 16 bits with its manifest and training
log, the importance of the columns, and ``dose.json``: which type each tensor takes, and hash, size
and some answers of the file that these make here. The whole must stay below 10 MB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from galenic.artifact.licence import CARD as README
from galenic.artifact.manifest import Stage, read_manifest, write_manifest
from galenic.cli.progress import ConsoleWatcher
from galenic.compression.quantize.block_types import KQuant
from galenic.compression.quantize.config import QuantizeConfig
from galenic.compression.quantize.job import QuantizeJob
from galenic.data.calibration import read_calibration_text
from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.models.adapter import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    adapted_tensors,
    read_adapter,
)
from galenic.models.fetch.dose import CARD, Dose, MeasuredAnswer
from galenic.models.fetch.embedded import EMBEDDED
from galenic.models.gguf.header import read_header
from galenic.models.gguf.names import EMBEDDING
from galenic.models.load import resolve_model
from galenic.recipes.dose import IMPORTANCE, answers_of, build_dose
from galenic.registry import BENCHMARKS
from galenic.training.merge import merge
from galenic.training.run import TRAINING_LOG
from galenic.watcher import Watcher

MOST_BYTES = 10_000_000
DOSES = Path(__file__).parents[1] / "src" / "galenic" / "doses"
ASKED = ("pubmedqa", "medqa_4options", "medmcqa")
"""Of each of these the first packaged sample question is asked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--base", default="smollm2-135m", choices=EMBEDDED)
    parser.add_argument("--data", required=True, help="folder of the calibration text")
    parser.add_argument("--adapted-type", default="Q8_0", help="of what the adapter changes")
    parser.add_argument("--head-type", default="IQ4_NL", help="of the embedding and head")
    parser.add_argument("--description", required=True)
    parser.add_argument("--source", action="append", required=True, help="trained on, with licence")
    parser.add_argument("--output", type=Path, default=DOSES, help="folder of the doses")
    options = parser.parse_args()
    with ConsoleWatcher() as watcher:
        folder = pack(options, watcher)
    print(f"{folder}: {size_of(folder):,} bytes")


def pack(options: argparse.Namespace, watcher: Watcher) -> Path:
    """Write the folder of the dose, whole or not at all.

    Raises:
        UserError: it is there, or too large.
    """
    target: Path = options.output / options.name
    if target.exists():
        raise UserError(f"{target} is there already.")
    with tempfile.TemporaryDirectory() as scratch:
        part, merged = Path(scratch, "dose"), Path(scratch, "merged")
        part.mkdir()
        narrow(options.adapter, part)
        merge(options.base, part, merged, watcher)
        types = choose_types(merged, part, options, watcher)
        base = resolve_model(options.base)
        card = Dose(
            name=options.name,
            description=options.description,
            base=options.base,
            base_sha256=base.sha256,
            licence=EMBEDDED[options.base].licence,
            sources=tuple(options.source),
            types=types,
            sha256="0" * 64,
            num_bytes=1,
            answers=(MeasuredAnswer(prompt="?", log_probs={}),),
        )
        write_card(card, part)
        made = Path(scratch, "made.gguf")
        sha256 = build_dose(part, made)
        answers = tuple(answers_of(made, asked()))
        measured = {"sha256": sha256, "num_bytes": made.stat().st_size, "answers": answers}
        write_card(card.model_copy(update=measured), part)
        write_manifest(part, stages_of(options.adapter))
        if size_of(part) > MOST_BYTES:
            raise UserError(f"it takes {size_of(part):,} bytes, and {MOST_BYTES:,} are allowed.")
        for file in part.iterdir():
            file.chmod(0o644)  # safetensors writes for the owner alone
        shutil.copytree(part, target)
    return target


def stages_of(adapter: Path) -> tuple[Stage, ...]:
    """How it was trained.

    Raises:
        UserError: it does not say.
    """
    manifest = read_manifest(adapter)
    if manifest is None:
        raise UserError(f"{adapter} has no manifest: `galenic finetune` writes one.")
    return manifest.stages


def narrow(adapter: Path, folder: Path) -> None:
    """Copy an adapter with what says how it was trained, its weights in 16 bits."""
    weights = {name: value.astype(np.float16) for name, value in tensors(adapter).items()}
    save_file(weights, folder / ADAPTER_WEIGHTS)
    for name in (ADAPTER_CONFIG, TRAINING_LOG, README):
        shutil.copyfile(adapter / name, folder / name)


def tensors(adapter: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = load_file(adapter / ADAPTER_WEIGHTS)
    return found


def choose_types(
    merged: Path, folder: Path, options: argparse.Namespace, watcher: Watcher
) -> dict[str, tuple[str, ...]]:
    """Types of the tensors; the importance of the head's columns goes into the folder."""
    config = QuantizeConfig(model=str(merged), data=options.data)
    job = QuantizeJob(
        config, resolve_model(config.model), tuple(read_calibration_text(config)), watcher
    )
    method = KQuant()
    found = method.sensitivity(job, folder, watcher.advance)
    save_file({EMBEDDING: dict(found.columns)[EMBEDDING]}, folder / IMPORTANCE)
    header = read_header(resolve_model(options.base).path)
    adapted = adapted_tensors(header, read_adapter(folder))
    types: dict[str, list[str]] = {}
    for tensor in header.tensors:
        kind = options.adapted_type if tensor.name in adapted else tensor.type
        kind = options.head_type if tensor.name == EMBEDDING else kind
        if kind != "F32":
            types.setdefault(kind, []).append(tensor.name)
    return {kind: tuple(names) for kind, names in sorted(types.items())}


def asked() -> list[tuple[str, tuple[str, ...]]]:
    """Prompts with their labels."""
    source = open_source("sample")
    found = []
    for name in ASKED:
        benchmark = BENCHMARKS.load(name)
        example = source.load(benchmark).examples[0]
        found.append((benchmark.prompt(example), tuple(example.options)))
    return found


def write_card(card: Dose, folder: Path) -> None:
    text = json.dumps(card.model_dump(mode="json"), indent=1) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


if __name__ == "__main__":
    main()
