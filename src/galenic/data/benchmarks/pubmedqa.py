"""PubMedQA (PQA-L): does the abstract answer the question with yes, no or maybe?

Jin et al. 2019, https://arxiv.org/abs/1909.06146. The input is question and abstract without its
conclusion (the reasoning-required setting). Reported on the official 500 test questions; the other
500 (``cv``, ten official folds in ``meta["cv_fold"]``) are for few-shot examples and tuning.
"""

from __future__ import annotations

from galenic.data.benchmarks.base import Benchmark

__all__ = ["PUBMEDQA"]

PUBMEDQA = Benchmark(
    name="pubmedqa",
    title="PubMedQA",
    version=1,
    splits={
        "test": "pubmedqa/test.jsonl.gz",
        "cv": "pubmedqa/cv.jsonl.gz",
        "all": "pubmedqa/all.jsonl.gz",
    },
    default_split="test",
    fewshot_split="cv",
    labelled=False,
    context_name="Abstract",
)
