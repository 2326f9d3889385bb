"""What healing and tuning do to a model's answers, from the dense model to the dose.

    python benchmarks/finetune_table.py --data DIR --work /tmp/tuned -o results/finetune

See model_table.py. Training takes hours on a CPU; a stopped one goes on. The questions are those of
the test sets, which no training reads; "all" pools them.
"""

from __future__ import annotations

from model_table import Row, arguments, run

TUNE = (
    "finetune {parent} --top-blocks 10 --cache --cache-gb 14 --permutations 1 --side-by-side "
    "--batch-tokens 6144 --learning-rate 5e-4 --num-heldout 155 --evaluate-every 50 "
    "--patience 20 --collapse-patience 9"
)
FEW = "--rank 8 --epochs 2"
LABELS = "pubmedqa=2,medmcqa"
OPTIONS = "pubmedqa:options=2,pubmedqa:artificial,medmcqa:options@1"
TUNED = r"blk\.2[0-9]=Q8_0"
KEPT = "pubmedqa:options=2,pubmedqa:artificial,medmcqa:kept@10=0.5,medqa_4options:kept@10=0.15"


def tuned(name: str, how: str, title: str, parent: str = "dense") -> list[Row]:
    """An adapter, and the model that it is merged into."""
    return [
        Row(f"{name}-adapter", parent, how, shown=False),
        Row(name, f"{name}-adapter", "merge {grandparent} {parent}", title),
    ]


ROWS = [
    Row("dense", title="dense (dequantized from Q4_1)"),
    *tuned(
        "paper",
        "finetune {parent} --train medquad --base-bits 4 --max-length 128 --batch-size 4 "
        "--max-steps 50 --num-heldout 8 --evaluate-every 25",
        "as in the paper: MedQuAD, LoRA over nf4, 50 steps",
    ),
    *tuned("labels", f"{TUNE} {FEW} --train {LABELS}", "labels"),
    *tuned("labels-medquad", f"{TUNE} {FEW} --train {LABELS},medquad=0.02", "labels + MedQuAD"),
    *tuned("options", f"{TUNE} {FEW} --train {OPTIONS}", "options' texts"),
    *tuned(
        "options-medquad",
        f"{TUNE} {FEW} --train {OPTIONS},medquad=0.02",
        "options' texts + MedQuAD",
    ),
    Row(
        "dose",
        "options-medquad",
        f"quantize {{parent}} --type Q4_1 --tensor-type '{TUNED},token_embd=IQ4_NL'",
        "options' texts + MedQuAD, what was tuned Q8_0, the rest Q4_1",
    ),
    *tuned(
        "kept", f"{TUNE} --rank 16 --epochs 3 --train {KEPT}", "abstracts learnt, the others kept"
    ),
    Row("options-q4", "options", "quantize {parent} --target-bpw 4.5", "options' texts, 4.5 bits"),
    Row("width-20", "dense", "prune {parent} --method width --sparsity 0.2", "width 20 %"),
    Row(
        "healed",
        "width-20",
        "distill {parent} --teacher {dense} --num-samples 800",
        "width 20 %, healed",
    ),
    *tuned(
        "small",
        f"{TUNE} {FEW} --train {OPTIONS},medquad=0.02",
        "width 20 %, healed, tuned likewise",
        "healed",
    ),
    Row(
        "small-q4",
        "small",
        "quantize {parent} --method gptq --target-bpw 4.75",
        "width 20 %, healed, tuned likewise, 4.75 bits",
    ),
    Row(
        "small-dose",
        "small",
        f"quantize {{parent}} --method gptq --bits 4 --tensor-type '{TUNED}'",
        "width 20 %, healed, tuned likewise, what was tuned Q8_0, the rest 4 bits",
    ),
]

HEAD = """\
# What healing and tuning do to {model}

Made by `{command}`;
{versions}; seed 0. Test questions, drawn with seed 0 where not all are asked; "all" pools the
benchmarks. A model that gives nearly one answer has learnt nothing, whatever its accuracy: see its
predictions, its macro-F1 and the majority."""


def main() -> None:
    options = arguments(__doc__, "results/finetune", ["perplexity", "accuracy"]).parse_args()
    run(options, ROWS, HEAD)


if __name__ == "__main__":
    main()
