"""The model that is learnt from: it reads the student's tokens and says what it would."""

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
    """A student's tokens in its teacher's vocabulary.

    Attributes:
        ids: the teacher's id of each of the student's tokens, -1 for padding that it has not;
            shape (student's vocabulary,).
    """

    ids: NDArray[np.int64]

    @property
    def kept(self) -> Any:
        """The teacher's ids of the tokens that both have, in the student's order."""
        return torch.from_numpy(self.ids[self.ids >= 0])

    @property
    def own(self) -> Any | None:
        """The student's ids of these tokens; None for all."""
        return None if (self.ids >= 0).all() else torch.from_numpy(np.flatnonzero(self.ids >= 0))


def match_tokens(
    teacher: Sequence[str | None], student: Sequence[str | None], names: tuple[str, str]
) -> TokenMap | None:
    """Find every token of a student in its teacher's vocabulary, by its spelling.

    Args:
        teacher: piece of each of the teacher's tokens, None for padding of the embedding.
        student: likewise of the student.
        names: of teacher and student, for messages.

    Returns:
        None where both have the same tokens with the same ids.

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
            ids[number] = number if same else place[piece]  # a piece may be spelled twice
        elif number < len(teacher) and teacher[number] is None:
            ids[number] = number
    return TokenMap(ids)


class Teacher:
    """Gives its logits at a batch's rows; nothing of it is trained.

    Args:
        model: from transformers; its attention is switched to that over packs.
        tokens: the student's tokens in its vocabulary; None where they are the same.
        blocks: a cache of what its blocks put out; then only its head is computed for texts that
            come again.

    Raises:
        UserError: the model cannot compute packs.
    """

    def __init__(
        self, model: Any, *, tokens: TokenMap | None = None, blocks: LowerBlocks | None = None
    ) -> None:
        model.requires_grad_(False)
        self.learner = Learner(model.eval(), CrossEntropy(), blocks)
        self.tokens = tokens

    def __call__(self, batch: Batch) -> Any:
        """Logits, shape (r, vocabulary); call within `Learner.attending` of the batch."""
        device = batch.weights.device
        if self.learner.device != device:
            self.learner.to(device)
        if self.tokens is not None:
            tokens = self.tokens.ids[batch.pack.tokens].astype(np.int32)
            pack = replace(batch.pack, tokens=tokens)
            batch = replace(batch, pack=pack)
        with torch.no_grad():
            return self.learner.logits(batch)
