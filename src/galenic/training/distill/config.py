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
        None, description="The model it learns from, named likewise; mostly its dense parent."
    )
    method: str = Field("logits", description=f"One of: {', '.join(DISTILLERS)}.")
    data: str | None = Field(
        None,
        description="Folder with medquad/medquad.jsonl.gz: medical text to learn from. Its "
        "held-out tenth is only looked at. Other sources of --train lie there as well.",
    )
    text: str | None = Field(
        None,
        description="UTF-8 text file of your own, paragraphs apart by empty lines (general "
        "English, say); a tenth of them is held out. With --data, half is taken from each.",
    )
    train: str = Field(
        "",
        description="Sources as for galenic finetune. logits: learnt besides the text; sequence: "
        "where the prompts come from, by default medquad.",
    )
    seq_len: int = Field(256, ge=8, description="Tokens in each sequence of text.")
    num_heldout: int = Field(
        16, ge=1, description="Held-out texts of each source for validation, drawn at random."
    )
    answers: str | None = Field(
        None,
        description="sequence: file that keeps the teacher's answers for other runs; default: "
        "with the run, and in the folder that is made.",
    )
    seed: int = Field(0, ge=0, description="Of the choice and order of texts.")
    threads: int | None = Field(
        None, ge=1, description="Compute threads; default: the cores that nobody else is using."
    )
