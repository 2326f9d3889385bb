"""The teacher model: computes logits for the student's batches, mapping tokens if needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.training.batch import Batch
from galenic.training.learner import Learner, LowerBlocks
from galenic.training.losses import CrossEntropy

__all__ = ["Teacher", "TokenMap", "match_tokens"]


@dataclass(frozen=True)
class TokenMap:
    """Mapping from a student's tokens to its teacher's vocabulary.

    Attributes:
        ids: teacher's id of each of the student's tokens, -1 for padding rows that the teacher
            lacks; shape (student's vocabulary,).
    """

    ids: NDArray[np.int64]

    @property
    def kept(self) -> Any:
        """The teacher's ids of the tokens that both models have, in the student's order."""
        return torch.from_numpy(self.ids[self.ids >= 0])

    @property
    def own(self) -> Any | None:
        """The student's ids of these tokens; None if these are all of its ids."""
        return None if (self.ids >= 0).all() else torch.from_numpy(np.flatnonzero(self.ids >= 0))


def match_tokens(
    teacher: Sequence[str | None], student: Sequence[str | None], names: tuple[str, str]
) -> TokenMap | None:
    """Find every token of a student in its teacher's vocabulary, by its spelling.

    Args:
        teacher: string of each of the teacher's tokens, None for padding rows of the embedding.
        student: the same for the student.
        names: names of teacher and student, for messages.

    Returns:
        The mapping; None if both have the same tokens with the same ids.

    Raises:
        UserError: the teacher lacks tokens of the student, so it cannot read them.
    """
    if list(teacher) == list(student):
        return None
    place = {piece: number for number, piece in enumerate(teacher) if piece is not None}
    missing = [piece for piece in student if piece is not None and piece not in place]
    if missing:
        raise UserError(
            f"{names[0]} does not know {len(missing):,} of the {len(student):,} tokens of "
            f"{names[1]}, among them {missing[0]!r}: a teacher's probabilities can be learnt only "
            "with the same tokenizer, or a part of it. Use --method sequence, which learns from "
            "the teacher's answers as text."
        )
    ids = np.full(len(student), -1, dtype=np.int64)
    for number, piece in enumerate(student):
        if piece is not None:
            same = number < len(teacher) and teacher[number] == piece
            ids[number] = number if same else place[piece]  # duplicates: keep the id
        elif number < len(teacher) and teacher[number] is None:
            ids[number] = number
    return TokenMap(ids)


class Teacher:
    """A frozen model that returns its logits at a batch's rows.

    Args:
        model: a transformers model; its attention is switched to attention over packs.
        tokens: mapping of the student's tokens; None if the vocabularies are the same.
        blocks: cache for the outputs of its blocks, so that repeated texts only need the head.

    Raises:
        UserError: the model does not work with packs.
    """

    def __init__(
        self, model: Any, *, tokens: TokenMap | None = None, blocks: LowerBlocks | None = None
    ) -> None:
        model.requires_grad_(False)
        self.learner = Learner(model.eval(), CrossEntropy(), blocks)
        self.tokens = tokens

    def __call__(self, batch: Batch) -> Any:
        """Return logits of shape (r, vocabulary); call within the batch's `Learner.attending`."""
        device = batch.weights.device
        if self.learner.device != device:
            self.learner.to(device)
        if self.tokens is not None:
            tokens = self.tokens.ids[batch.pack.tokens].astype(np.int32)
            pack = replace(batch.pack, tokens=tokens)
            batch = replace(batch, pack=pack)
        with torch.no_grad():
            return self.learner.logits(batch)
