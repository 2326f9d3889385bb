"""What every command does with every family: the largest logit difference, or the refusal.

    python benchmarks/compatibility.py -o results/compatibility.md
    python benchmarks/compatibility.py --families gpt_neox --columns quantize  # only these anew

With ``--families`` or ``--columns`` the cells of these are measured anew and put in the place of
the earlier ones in the JSON file beside the table; all others stay.

Tiny random models of each family (tests/tiny_hf.py; those that cannot be compressed are made here)
go through every command. Numbers are differences of log-probabilities in nats over 48 random
tokens, the largest of all tokens and positions: of the torch runtime from transformers; of
llama.cpp, with keys and values in float32, from transformers, each with its own reading of what was
written (GPT-NeoX: ggml reads GELU from a table in float16). Where a model is quantized or exported
as a GGUF of 16 bits, it is the root mean square of both engines' difference as a share of the
logits' spread, which these commands compare themselves with what rounding explains. A cell that
fails without a refusal, or with a larger difference than 0.05 nats, is marked WRONG, and the
command ends with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import galenic
from galenic.errors import UserError
from galenic.models.families import EXPERTS
from galenic.models.files import ModelFiles
from galenic.registry import EXPORTERS, PRUNERS
from galenic.runtimes import llama_context
from tiny_hf import FAMILIES, MORE_FAMILIES, write_tiny_hf, write_tiny_tokenizer

OTHERS = ("granite4", "mixtral", "qwen3_moe", "lfm2", "granitemoehybrid", "qwen3_5_text")
"""``granite4`` is ``granitemoehybrid`` without recurrent blocks and experts."""
TOKENS = [int(one) for one in np.random.default_rng(0).integers(3, 250, 48)]
PRUNE: dict[str, dict[str, Any]] = {
    "depth": {"sparsity": 0.2, "metric": "influence"},
    "width": {"sparsity": 0.2},
    "vocab": {"min_count": 1, "keep_first": 10},
}
TEXT = {"num_samples": 2, "seq_len": 32}
TUNING = {"max_steps": 2, "batch_size": 2, "max_length": 64, "num_heldout": 4, "against": "none"}
LARGEST = 0.05
Rows: TypeAlias = dict[str, dict[str, dict[str, str]]]
"""Family, column, and the one entry of a cell."""
COLUMNS = (
    *("evaluate: torch", "evaluate: llama", "GGUF read back"),
    *(f"prune: {method}" for method in PRUNERS.own),
    *("quantize", "finetune, merge"),
    *(f"export: {target}" for target in EXPORTERS.own),
)
ZEROED = {"sparsity": 0.3}


def other_model(folder: Path, name: str) -> Path:
    """A tiny random model of an architecture that is not in the table of families."""
    import torch
    import transformers

    tokenizer = write_tiny_tokenizer(folder)
    size = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128}
    size |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 4}
    size |= {"max_position_embeddings": 512, "pad_token_id": None, "initializer_range": 0.3}
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    more: dict[str, dict[str, Any]] = {
        "mixtral": experts,
        "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
        | {"norm_topk_prob": True}
        | {"head_dim": 16},
        "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False},
        "granite4": {"layer_types": ["attention"] * 4, "num_local_experts": 0}
        | {"mamba_n_heads": 8, "mamba_d_head": 16, "shared_intermediate_size": 128}
        | {"position_embedding_type": "rope", "logits_scaling": 2.0, "attention_multiplier": 0.2},
        "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, "num_local_experts": 0}
        | {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1}
        | {"shared_intermediate_size": 128},
        "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"] * 2}
        | {"head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
        | {"linear_key_head_dim": 16, "linear_value_head_dim": 16},
    }
    kind = "granitemoehybrid" if name == "granite4" else name
    config = transformers.AutoConfig.for_model(kind, **(size | more.get(name, {})))
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def expected(folder: Path) -> Any:
    """Log-probabilities of the tokens by transformers alone."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.tensor([TOKENS])).logits[0]
    return torch.log_softmax(logits, -1).numpy()


def found(model: Path, runtime: str) -> Any:
    with galenic.load_model(str(model), runtime, threads=1) as loaded:
        return loaded.log_probs(TOKENS)


def largest(one: Any, other: Any) -> str:
    difference = float(np.abs(one - other).max())
    if not difference <= LARGEST:
        raise ValueError(f"{difference:.1e}")
    return f"{difference:.1e}"


def in_both(folder: Path, work: Path) -> str:
    """A written folder, read by llama.cpp through a float32 GGUF and by transformers."""
    from galenic.models.gguf.folder import folder_to_gguf
    from galenic.models.granite_part import granite_part
    from galenic.models.load import resolve_model

    path = work / f"{folder.name}.gguf"
    folder_to_gguf(granite_part(resolve_model(str(folder))).path, path, "F32")
    return largest(found(path, "llama"), expected(folder))


class Cells:
    """The commands for one model, by the name of their column."""

    def __init__(self, model: Path, work: Path) -> None:
        self.model, self.work = model, work
        self.text = work / "text.txt"
        lines = (f"The patient number {i} was seen on day {i * i} of the year." for i in range(99))
        self.text.write_text("\n\n".join(lines), encoding="utf-8")

    def all(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "evaluate: torch", lambda: largest(found(self.model, "torch"), expected(self.model))
        yield "evaluate: llama", lambda: in_both(self.model, self.work)
        yield "GGUF read back", self.dequantized
        for method in PRUNERS.own:
            yield f"prune: {method}", lambda method=method: self.prune(method)
        yield "quantize", self.quantize
        yield "finetune, merge", self.finetune
        for target in EXPORTERS.own:
            yield f"export: {target}", lambda target=target: self.export(target)

    def dequantized(self) -> str:
        from galenic.models.gguf.dequantize import dequantized_folder

        path = self.work / f"{self.model.name}.gguf"
        if not path.is_file():
            galenic.export(str(self.model), "llama.cpp", self.work / "gguf")
            path = self.work / "gguf" / "model.gguf"
        files = ModelFiles("m", "gguf", path, f"{abs(hash(str(path))):064x}")
        return largest(expected(dequantized_folder(files)), expected(self.model))

    def prune(self, method: str) -> str:
        output = self.work / f"pruned-{method}"
        options = PRUNE.get(method, ZEROED)
        text = {"text": str(self.text), **TEXT}
        galenic.prune(str(self.model), output, method, **options, **text)
        return in_both(output, self.work)

    def quantize(self) -> str:
        output = self.work / "quantized"
        text = {"text": str(self.text), **TEXT}
        plain = self.model.name in EXPERTS
        options: dict[str, Any] = {"importance": False} if plain else text
        made = galenic.quantize(str(self.model), output, "kquant", type="Q8_0", **options)
        return f"{made.manifest.stages[-1].checks['logit_difference']:.1e}"

    def finetune(self) -> str:
        train = self.work / "train.jsonl"
        rows = (
            {"id": str(i), "question": f"Is {i} even?", "options": {"A": "yes", "B": "no"}}
            | {"answer": "AB"[i % 2]}
            for i in range(24)
        )
        train.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        adapter, merged = self.work / "adapter", self.work / "merged"
        galenic.finetune(str(self.model), str(train), adapter, rank=2, **TUNING)
        galenic.merge(str(self.model), adapter, merged)
        return in_both(merged, self.work)

    def export(self, target: str) -> str:
        output = self.work / f"export-{re.sub('[^a-z]', '', target)}"
        use = galenic.export(str(self.model), target, output, data="sample")
        if said := re.search(r"differ by ([0-9.e-]+) of their spread", use):
            return f"{float(said[1]):.1e}"
        folder = output / "model" if target == "lm-eval" else output
        return largest(expected(folder), expected(self.model))


def run(cell: Callable[[], str]) -> dict[str, str]:
    """The cell: the ``difference``, the words in which it was ``refused``, or what is ``wrong``."""
    try:
        return {"difference": cell()}
    except UserError as error:
        return {"refused": re.sub(r"/\S+/", "", str(error).splitlines()[0])}
    except Exception as error:  # noqa: BLE001 - whatever it is, the cell is wrong
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return {"wrong": str(error) if isinstance(error, ValueError) else type(error).__name__}


def main() -> int:
    warnings.filterwarnings("ignore")
    os.environ.pop("GALENIC_DATA", None)  # the text of each command is the same everywhere
    llama_context._GGML_TYPE_F16 = llama_context._FLASH_ATTENTION_ON = 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("results/compatibility.md"))
    every = [*FAMILIES, *MORE_FAMILIES, *OTHERS]
    parser.add_argument("--families", nargs="+", default=every, choices=every)
    parser.add_argument("--columns", nargs="+", default=COLUMNS, choices=COLUMNS)
    given = parser.parse_args()
    for family in given.families:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            known = family in (*FAMILIES, *MORE_FAMILIES)
            model = (
                write_tiny_hf(work / family, family, hidden_size=64)
                if known
                else other_model(work / family, family)
            )
            for name, cell in Cells(model, work).all():
                if name in given.columns:
                    row = {name: run(cell)}
                    print(f"{family:18} {row}", flush=True)
                    rows = merged(earlier(given.output), {family: row}, every)
                    save(given.output, rows)  # after each cell: a stopped run keeps what it has
    return 1 if any("wrong" in cell for row in rows.values() for cell in row.values()) else 0


def earlier(table: Path) -> Rows:
    """The cells measured before, from the JSON file beside the table; none when it is missing."""
    path = table.with_suffix(".json")
    found: Rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def merged(before: Rows, new: Rows, order: Sequence[str]) -> Rows:
    """New cells in the place of earlier ones; families and columns that are gone are left out."""
    rows = {name: before.get(name, {}) | new.get(name, {}) for name in order}
    return {
        name: {column: row[column] for column in COLUMNS if column in row}
        for name, row in rows.items()
        if row
    }


def save(table: Path, rows: Rows) -> None:
    """Write both files anew; each appears whole or not at all."""
    text = json.dumps(rows, indent=1) + "\n"
    for path, content in ((table.with_suffix(".json"), text), (table, as_text(rows))):
        part = path.with_name(f"{path.name}.part")
        part.write_text(content, encoding="utf-8")
        part.replace(path)


def as_text(rows: Rows) -> str:
    """The table as Markdown: refusals numbered in the order in which they appear, then listed."""
    numbers: dict[str, int] = {}

    def shown(cell: dict[str, str] | None) -> str:
        if cell is None:
            return "not measured"
        if words := cell.get("refused"):
            return f"refused [{numbers.setdefault(words, len(numbers) + 1)}]"
        return cell.get("difference") or f"WRONG: {cell['wrong']}"

    names = [column for column in COLUMNS if any(column in row for row in rows.values())]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for family, row in rows.items():
        lines.append(f"| {family} | {' | '.join(shown(row.get(name)) for name in names)} |")
    parts = [
        "# Families and commands",
        "Made by `python benchmarks/compatibility.py`. "
        + " ".join((__doc__ or "").split("\n\n")[3].split()),
        "\n".join(lines),
    ]
    if numbers:
        listed = (f"{number}. {words}" for words, number in numbers.items())
        parts.append("## The refusals in words\n\n" + "\n".join(listed))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
