"""MedQA (US licensing exam style), with four and with five options: two different benchmarks.

Jin et al. 2020, https://arxiv.org/abs/2009.13081. Both forms ask the same questions; the 4-option
form drops one wrong option, so its numbers are higher and the two must not be mixed. A question
has the same id in both, which lets them share computation.
"""

from __future__ import annotations

from galenic.data.benchmarks.base import Benchmark

__all__ = ["MEDQA_4OPTIONS", "MEDQA_5OPTIONS"]


def _medqa(num_options: int) -> Benchmark:
    return Benchmark(
        name=f"medqa_{num_options}options",
        title=f"MedQA ({num_options} options)",
        version=1,
        splits={
            "test": f"medqa/{num_options}options_test.jsonl.gz",
            "dev": f"medqa/{num_options}options_dev.jsonl.gz",
            "train": f"medqa/train_partial_{num_options}options.jsonl.gz",
        },
        default_split="test",
        fewshot_split="train",
    )


MEDQA_4OPTIONS = _medqa(4)
MEDQA_5OPTIONS = _medqa(5)
