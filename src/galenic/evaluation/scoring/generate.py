"""Chain-of-thought scoring: generate text, then parse the answer."""

from __future__ import annotations

from collections.abc import Iterable

from galenic.data.example import Example
from galenic.evaluation.scoring.base import Scoring

__all__ = ["Generate"]


class Generate(Scoring):
    """Chain of thought (Wei et al. 2022, https://arxiv.org/abs/2201.11903), then parse."""

    name = "generate"
    generates = True

    def continuation(self, example: Example, label: str) -> str:
        return f" {label}"

    @staticmethod
    def instruct(prompt: str, answer_prefix: str, labels: Iterable[str]) -> str:
        """Replace the answer prefix at the end of a prompt by an instruction to reason."""
        listed = ", ".join(labels)
        body = prompt.removesuffix(answer_prefix).rstrip("\n")
        return (
            f"{body}\nThink step by step, then end with one line "
            f'"{answer_prefix} X" where X is one of {listed}.\nReasoning:'
        )
