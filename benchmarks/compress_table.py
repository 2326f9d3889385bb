"""What every way of compressing does to a model: bytes, perplexity, KL, answers, speed, memory.

    python benchmarks/compress_table.py --data DIR --work /tmp/table -o results/compress

See model_table.py. Held-out text is MedQuAD's held-out tenth. Quality is measured in the torch
runtime on float32 activations, so that it is that of the weights alone; speed in llama.cpp, which
serves. A pruned model's speed is that of its Q4_0 form beside the dense model's Q4_0 form, in
turns: the same bits.
"""

from __future__ import annotations

from compared import NO_MINIMUM
from model_table import MEASURES, ROUNDED, Row, arguments, run


def q(name: str, how: str, title: str, parent: str = "dense") -> Row:
    return Row(name, parent, f"quantize {{parent}} {how}", title)


def p(name: str, how: str, title: str, parent: str = "dense") -> Row:
    return Row(name, parent, f"prune {{parent}} {how}", title)


SMALL = [
    Row("dense", title="dense (dequantized from Q4_1)"),
    p("width-20", "--method width --sparsity 0.2", "width 20 %"),
    p("depth-20", "--method depth --sparsity 0.2", "depth 20 %"),
    p("vocab", "--method vocab", "vocab"),
    q("q4", "--bits 4 --exclude Q4_1", "4 bits, importance"),
    q("q4-own", f"--bits 4 {NO_MINIMUM}", "4 bits, importance, no type with a minimum"),
    q("q4-plain", f"{ROUNDED}", "Q4_0, rounded to nearest"),
    q("gptq-4", "--method gptq --type Q4_0 --head-type Q8_0", "GPTQ, Q4_0, head Q8_0"),
    q("gptq-nl", "--method gptq --bits 4", "GPTQ, 4 bits, head too"),
    q("gptq-mixed", "--method gptq --target-bpw 4.5 --exclude Q4_1",
      "GPTQ, mixed, 4.5 bits a weight"),
    q("mixed-4.5", "--target-bpw 4.5 --exclude Q4_1", "mixed, 4.5 bits a weight"),
    q("gptq-own", f"--method gptq --target-bpw 4.5 {NO_MINIMUM}",
      "GPTQ, mixed, 4.5 bits a weight, no type with a minimum"),
    q("mixed-own", f"--target-bpw 4.5 {NO_MINIMUM}",
      "mixed, 4.5 bits a weight, no type with a minimum"),
    q("nf4", "--method nf4", "nf4 (bitsandbytes)"),
    p("magnitude-20", "--method magnitude --sparsity 0.2", "magnitude 20 %"),
    p("wanda-20", "--method wanda --sparsity 0.2", "Wanda 20 %"),
    p("sparsegpt-20", "--method sparsegpt --sparsity 0.2", "SparseGPT 20 %"),
    p("neurons-20", "--method magnitude --neurons --sparsity 0.2", "whole neurons, magnitude 20 %"),
    p("width-magnitude-20", "--method width --score magnitude --sparsity 0.2",
      "width 20 %, plain weight magnitude"),
    p("width-vocab", "--method vocab", "width 20 % + vocab", "width-20"),
    p("depth-vocab", "--method vocab", "depth 20 % + vocab", "depth-20"),
    q("q8", "--bits 8", "8 bits, importance"),
    q("q8-plain", "--bits 8 --no-importance", "8 bits, rounded to nearest"),
    q("q6", "--bits 6", "6 bits, importance"),
    q("q6-plain", "--bits 6 --no-importance", "6 bits, rounded to nearest"),
    q("q6-own", f"--bits 6 {NO_MINIMUM}", "6 bits, importance, no type with a minimum"),
    q("q6-own-plain", f"--bits 6 --no-importance {NO_MINIMUM}",
      "6 bits, rounded to nearest, no type with a minimum"),
    q("q5", "--bits 5 --exclude Q4_1", "5 bits, importance"),
    q("q5-plain", "--bits 5 --no-importance --exclude Q4_1", "5 bits, rounded to nearest"),
    q("q5-own", f"--bits 5 {NO_MINIMUM}", "5 bits, importance, no type with a minimum"),
    q("q5-own-plain", f"--bits 5 --no-importance {NO_MINIMUM}",
      "5 bits, rounded to nearest, no type with a minimum"),
    q("int8", "--method int8", "int8 (bitsandbytes)"),
    q("width-20-q4", "--bits 4 --exclude Q4_1", "width 20 %, then 4 bits", "width-20"),
]  # fmt: skip
LARGE = [
    Row("dense", title="dense (dequantized from Q4_K_M)"),
    q("q4", "--bits 4 --num-samples 32", "4 bits, importance, Q4_K (as it came) among the types"),
    q("q3", "--bits 3 --num-samples 32", "3 bits, importance"),
    p("width-20", "--method width --sparsity 0.2 --num-samples 32", "width 20 %"),
    p(
        "depth-20",
        "--method depth --sparsity 0.2 --num-samples 32 --candidates 1",
        "depth 20 %, block influence alone",
    ),
]
LOW = "token_embd=IQ3_S,attn_v=Q8_0,attn_k=Q5_0,blk\\.[0-3]\\.ffn_down=IQ4_XS"
HIGH = "token_embd=IQ3_S,attn_v=Q8_0,attn_k=Q8_0,blk\\.[0-3]\\.ffn_down=Q5_0"
INNER = HIGH.replace("token_embd=IQ3_S,", "")
WIDER = HIGH.replace("token_embd=IQ3_S", "token_embd=IQ4_XS")
MIDDLE = "token_embd=IQ4_XS,attn_v=Q8_0,attn_k=Q8_0,blk\\.[0-3]\\.ffn_down=IQ4_XS"
INNER_3 = MIDDLE.replace("token_embd=IQ4_XS,", "")
FITTED = "--method gptq --head-type Q6_K --num-samples 24"
ON_EXAMS = "--method gptq --head-type Q6_K --num-samples 48 --text exams.txt"
"""exams.txt: exam_text.py --letters medmcqa=600,medqa_4options=150."""
PROOF = [
    Row("dense", title="dense (dequantized from Q4_K_M, as published)"),
    q("gptq-4", f"{FITTED} --type IQ4_XS --tensor-type '{HIGH}'", "GPTQ, IQ4_XS"),
    q(
        "gptq-4-exams",
        f"{ON_EXAMS} --type IQ4_XS --tensor-type '{WIDER}'",
        "GPTQ, IQ4_XS, calibrated half on exams",
    ),
    q(
        "gptq-4-tied",
        f"--tie-head {ON_EXAMS} --type IQ4_XS --tensor-type '{INNER}'",
        "GPTQ, IQ4_XS, calibrated half on exams, head stored once",
    ),
    Row(
        "width-10",
        "dense",
        "prune {parent} --tie-head --method width --sparsity 0.1 --ffn-multiple 256 --kv-groups 0 "
        "--reconstruct --num-samples 32 --text exams.txt",
        shown=False,
    ),
    q(
        "width-10-gptq-4",
        f"{ON_EXAMS.replace('48', '32')} --type IQ4_XS --tensor-type '{INNER}'",
        "width 10 %, reconstructed, then GPTQ, IQ4_XS",
        "width-10",
    ),
    Row("llama-iq4_xs", "dense", "llama.cpp IQ4_XS", "llama.cpp IQ4_XS with importance"),
    q("gptq-3", f"{FITTED} --type Q3_K --tensor-type '{LOW}'", "GPTQ, Q3_K"),
    q(
        "gptq-3-exams",
        f"{ON_EXAMS} --type Q3_K --tensor-type '{MIDDLE}'",
        "GPTQ, Q3_K, calibrated half on exams",
    ),
    q(
        "gptq-3-tied",
        f"--tie-head {ON_EXAMS} --type Q3_K --tensor-type '{INNER_3}'",
        "GPTQ, Q3_K, calibrated half on exams, head stored once",
    ),
    Row("llama-q3_k_m", "dense", "llama.cpp Q3_K_M", "llama.cpp Q3_K_M with importance"),
    Row("llama-iq3_s", "dense", "llama.cpp IQ3_S", "llama.cpp IQ3_S with importance"),
]
"""Heads are Q6_K in all of these, as the base came: its own levels, in ours and in the peers'."""
TABLES = {"small": SMALL, "large": LARGE, "proof": PROOF}


HEAD = """\
# What compressing does to {model}

Made by `{command}`;
{versions}. Held-out text, where it is used: {num_samples} sequences of 256 tokens of MedQuAD's
held-out tenth, seed 0, 95 % intervals by resampling sequences; weights alone are judged (torch
runtime, float32 activations). Perplexity is given for each token of the dense model, so that other
vocabularies compare. Zeroed weights are stored like others: such files are no smaller. A base that
comes quantized is flattered by types that give its own levels back; for Q4_1 these are the types
with a minimum (Q4_1, Q4_K, Q5_1, Q5_K), which some rows leave out. "all" pools the questions of the
benchmarks."""


PROOF_HEAD = """\
# What quantizing costs a model that knows something: {model}

Made by `{command}`;
{versions}; seed 0. Calibrated on MedQuAD, or half on it and half on training questions with
their letters (exams.txt: `python benchmarks/exam_text.py --data DIR --letters
medmcqa=600,medqa_4options=150 -o exams.txt`; llama.cpp's importance is of that text, too).
Held-out text: {num_samples} sequences of 256 tokens of MedQuAD's held-out tenth, 95 % intervals
by resampling sequences. Answers: the option's letter, the same questions for every row, paired
with the first row. All computed in PyTorch from dequantized weights, `--dtype {dtype}`, so that
only weights are judged. The base
came in Q4_K_M, and "dense" is dequantized from that. Types that give its own levels back are left
out of our rows but for the head, which is Q6_K in every row; llama.cpp's mixes are as it makes
them. Bits a weight are those of the whole file; the published file holds one matrix twice, as
embedding and as head, and both count, so that a head stored once has more bits and fewer MB (914
MB are 4.09 bits, counted as the others). "all" pools the questions of the benchmarks."""


def main() -> None:
    parser = arguments(__doc__, "results/compress", list(MEASURES))
    parser.add_argument("--table", choices=TABLES, default="small")
    options = parser.parse_args()
    run(options, TABLES[options.table], PROOF_HEAD if options.table == "proof" else HEAD)


if __name__ == "__main__":
    main()
