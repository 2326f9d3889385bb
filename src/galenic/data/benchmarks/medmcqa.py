"""MedMCQA: short questions of Indian medical entrance exams, four options.

Pal et al. 2022, https://arxiv.org/abs/2203.14371. The labels of its test set were never released,
so ``validation`` (4,183 questions) is what everyone reports, the paper's Table 2 included: tune on
``train`` only.
"""

from __future__ import annotations

from galenic.data.benchmarks.base import Benchmark

__all__ = ["MEDMCQA"]

MEDMCQA = Benchmark(
    name="medmcqa",
    title="MedMCQA",
    version=1,
    splits={
        "validation": "medmcqa/validation.jsonl.gz",
        "train": "medmcqa/train_partial.jsonl.gz",
    },
    default_split="validation",
    fewshot_split="train",
)
