"""Options of `galenic distill` other than those of the method."""

from __future__ import annotations

from pydantic import Field

from galenic.registry import DISTILLERS
from galenic.training.finetune.config import TextsConfig

__all__ = ["DistillConfig"]


class DistillConfig(TextsConfig):
    """Student, teacher, the method's name, and the texts."""

    model: str = Field(
        description="The student: a Hugging Face folder (of a pruned model, say), a GGUF file, "
        "smollm2-135m, or a Hub id."
    )
    teacher: str | None = Field(
        None, description="The model to learn from, usually the dense parent: same forms as MODEL."
    )
    method: str = Field("logits", description=f"One of: {', '.join(DISTILLERS)}.")
    data: str | None = Field(
        None,
        description="Folder with medquad/medquad.jsonl.gz, the medical text to learn from (its "
        "held-out tenth is for validation only), and with the other sources of "
        "--train.",
    )
    text: str | None = Field(
        None,
        description="Your own UTF-8 text file, paragraphs separated by blank lines (general "
        "English, say); a tenth is held out. With --data, half of the text comes from "
        "each.",
    )
    train: str = Field(
        "",
        description="Sources, as for `galenic finetune`. logits: learned in addition to the text; "
        "sequence: where the prompts come from; default: medquad.",
    )
    seq_len: int = Field(256, ge=8, description="Tokens per sequence.")
    num_heldout: int = Field(16, ge=1, description="Held-out texts per source for validation.")
    answers: str | None = Field(
        None,
        description="With sequence: file that stores the teacher's answers for later runs; "
        "default: inside the run and the new folder.",
    )
    seed: int = Field(0, ge=0, description="Random seed.")
    threads: int | None = Field(None, ge=1, description="Compute threads; default: the idle cores.")
