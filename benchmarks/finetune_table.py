"""What healing and tuning do to a model's answers, from the dense model to the dose.

    python benchmarks/finetune_table.py --data DIR --work /tmp/tuned -o results/finetune

See model_table.py. Training takes hours on a CPU; a stopped one goes on. The questions are those of
the test sets, which no training reads; "all" pools them.
"""

from __future__ import annotations

from model_table import Row, arguments, run

TUNE = "finetune {parent} --top-blocks 10 --cache --permutations 1 --side-by-side"
LABELS = "pubmedqa,medqa_4options,medmcqa"
OPTIONS = "pubmedqa:options,pubmedqa:artificial,medqa_4options:options=0.3,medmcqa:options"


def tuned(name: str, how: str, title: str, parent: str = "dense") -> list[Row]:
    """An adapter, and the model that it is merged into."""
    base = "{dense}" if parent == "dense" else parent
    return [
        Row(f"{name}-adapter", parent, how, shown=False),
        Row(name, f"{name}-adapter", f"merge {base} {{parent}}", title),
    ]


ROWS = [
    Row("dense", title="dense (dequantized from Q4_1)"),
    *tuned(
        "paper",
        "finetune {parent} --train medquad --base-bits 4 --max-length 256 --max-steps 50 "
        "--num-heldout 20",
        "as in the paper: MedQuAD, LoRA over nf4, 50 steps",
    ),
    *tuned("labels", f"{TUNE} --train {LABELS} --epochs 2", "labels"),
    *tuned("options", f"{TUNE} --train {OPTIONS} --epochs 3", "texts of options"),
    *tuned(
        "options-medquad",
        f"{TUNE} --train {OPTIONS},medquad=0.02 --epochs 3",
        "texts of options + MedQuAD",
    ),
    Row("options-q4", "options", "quantize {parent} --method gptq --target-bpw 4.5",
        "texts of options, 4.5 bits a weight"),
    Row("width-20", "dense", "prune {parent} --method width --sparsity 0.2", "width 20 %"),
    Row("healed", "width-20", "distill {parent} --teacher {dense} --num-samples 2400",
        "width 20 %, healed"),
    *tuned("dose", f"{TUNE} --train {OPTIONS} --epochs 3", "width 20 %, healed, texts of options",
           "healed"),
    Row("dose-q4", "dose", "quantize {parent} --method gptq --target-bpw 4.5",
        "width 20 %, healed, texts of options, 4.5 bits a weight"),
]  # fmt: skip

HEAD = """\
# What healing and tuning do to {model}

Made by `python benchmarks/finetune_table.py --model {model} --data DIR --work DIR2 -o {output}`;
{{versions}}; seed 0. Test questions, drawn with seed 0 where not all are asked; "all" pools the
benchmarks. A model that gives nearly one answer has learnt nothing, whatever its accuracy: see its
predictions, its macro-F1 and the majority."""


def main() -> None:
    options = arguments(__doc__, "results/finetune", ["perplexity", "accuracy"]).parse_args()
    run(options, ROWS, HEAD.format(**vars(options)))


if __name__ == "__main__":
    main()
