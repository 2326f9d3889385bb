"""Kill a small study again and again, and see that its records come out the same.

    python benchmarks/study_kills.py --kills 20 -o results/study_kills

A tiny model with random weights and the packaged sample questions, so that this takes minutes. One
study runs to its end undisturbed. The other is killed (SIGKILL) after a random while, with a random
one of its processes: the study itself, or one of the nodes at work. Then it is started again, until
there were so many kills and it is complete. All records, and the weights that were made, must be
the same, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil
from compared import GALENIC

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from tiny_hf import write_tiny_hf

STUDY = """\
name: small
description: Two recipes on a tiny model.
calibration: {num_samples: 4, seq_len: 32}
evaluate: {benchmarks: [pubmedqa, medmcqa], scoring: [letter, text_per_byte]}
measures: [answers, perplexity]
rows:
  - {name: dense}
  - {name: pruned, stages: [{stage: prune, method: wanda, sparsity: 0.3}]}
  - {name: small, from: pruned, stages: [{stage: quantize, method: kquant, bits: 8}]}
"""
WORDS = [
    "the",
    "patient",
    "has",
    "fever",
    "cough",
    "pain",
    "with",
    "infection",
    "kidney",
    "treated",
    "by",
    "antibiotics",
]


def prepare(folder: Path) -> None:
    """Model, text and study."""
    write_tiny_hf(folder / "model", "llama")
    rng = random.Random(0)
    texts = [" ".join(rng.choice(WORDS) for _ in range(60)) for _ in range(80)]
    (folder / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")


def start(folder: Path, output: str) -> subprocess.Popen[bytes]:
    line = f"study study.yaml --model model --data sample --text text.txt -o {output}"
    return subprocess.Popen(
        [GALENIC, *line.split()],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GALENIC_THREADS": "1"},
    )


def digests(folder: Path) -> dict[str, str]:
    """Hashes of all records and weights."""
    files = [
        *folder.rglob("records.jsonl"),
        *folder.rglob("*.safetensors"),
        *folder.rglob("*.gguf"),
    ]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
    }


def kill_one(process: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kill the study or one that works for it; what it was."""
    children = psutil.Process(process.pid).children(recursive=True)
    victims = [("study", process.pid), *(("node", child.pid) for child in children)]
    what, pid = rng.choice(victims)
    os.kill(pid, signal.SIGKILL)
    return what


def disturbed(
    folder: Path, kills: int, rng: random.Random, longest: float
) -> tuple[list[str], int]:
    """Run the study, killed so often; what was killed, and how often it was started."""
    killed: list[str] = []
    starts = 0
    while True:
        process = start(folder, "killed")
        starts += 1
        while process.poll() is None and len(killed) < kills:
            try:
                process.wait(rng.uniform(0.2, longest))
            except subprocess.TimeoutExpired:
                killed.append(kill_one(process, rng))
                print(f"kill {len(killed)}: {killed[-1]}", flush=True)
        process.wait()
        if process.returncode == 0:
            if len(killed) >= kills:
                return killed, starts
            # done too early: what it has done last is taken away, so that there is more to kill
            results = sorted((folder / "killed" / "nodes").glob("*/result.json"))
            for file in rng.sample(results, len(results) // 2):
                subprocess.run(["rm", "-rf", str(file.parent)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds between two kills")
    parser.add_argument("-o", "--output", default="results/study_kills")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        began = time.perf_counter()
        start(folder, "whole").wait()
        whole_seconds = time.perf_counter() - began
        began = time.perf_counter()
        killed, starts = disturbed(folder, options.kills, rng, options.longest)
        seconds = time.perf_counter() - began
        whole, other = digests(folder / "whole"), digests(folder / "killed")
    same = whole == other and bool(whole)
    found = {
        "kills": len(killed),
        "of_the_study": killed.count("study"),
        "of_nodes": killed.count("node"),
        "starts": starts,
        "files": len(whole),
        "same": same,
        "seconds": round(seconds, 1),
        "seconds_undisturbed": round(whole_seconds, 1),
        "seed": options.seed,
        "versions": {"python": platform.python_version(), "galenic": version("galenic")},
    }
    text = json.dumps(found, indent=1)
    print(text)
    command = f"python benchmarks/study_kills.py --kills {options.kills} --seed {options.seed}"
    Path(f"{options.output}.txt").write_text(f"$ {command}\n{text}\n", encoding="utf-8")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
