"""A model, what is asked of it, and the loss: everything that a training step computes.

Texts are packed without padding, each seeing only itself (`galenic.runtimes.tree`); beginnings
that several texts of a step share are computed once, in both directions; the output head runs only
where a token is supervised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from galenic.errors import UserError
from galenic.runtimes.tree import Pack, Request, build_pack
from galenic.runtimes.tree_attention import ATTENTION, TreePlan, active_plan, tree_attention

if TYPE_CHECKING:
    from galenic.compress.heldout import Tally

__all__ = [
    "Batch",
    "Learner",
    "LowerBlocks",
    "Objective",
    "Option",
    "TrainItem",
    "cut_batches",
    "make_batch",
]

SAME_LOGITS, ROUGH = {torch.float32: 1e-3}, 0.05
"""How far packed and plain logits may differ, beside the largest of them: more for narrow types,
and for packed weights, beside which a difference in the last place may be rounded up or down."""


@dataclass(frozen=True)
class Option:
    """One of the texts that a question may be answered with.

    Attributes:
        label: what it is called.
        tokens: the text, behind the question.
        num_bytes: of the text.
    """

    label: str
    tokens: tuple[int, ...]
    num_bytes: int


@dataclass(frozen=True)
class TrainItem:
    """One text and which of its tokens are learnt.

    Attributes:
        tokens: the whole text.
        start: tokens from here on are supervised; at least 1.
        weight: of its loss beside that of others; it is shared among its supervised tokens.
        group: what it belongs to, for the histogram: a benchmark's name, or "" for free text.
        choices: the token of each possible answer, by label, that tells them apart; empty for free
            text.
        gold: label of the right one.
        shared: supervised tokens before that one, which all answers have.
        bundle: texts of one bundle are learnt in the same step, as far as they fit; "" is alone.
        options: what the text behind ``start`` is to be likelier than, itself among them; empty
            where it is learnt by itself.
        scale: the softmax over the options takes their log-likelihoods per byte times this.
        kept: this softmax is to stay that of the untuned model, whichever option is right.
    """

    tokens: tuple[int, ...]
    start: int
    weight: float = 1.0
    group: str = ""
    choices: tuple[tuple[str, int], ...] = ()
    gold: str = ""
    shared: int = 0
    bundle: str = ""
    options: tuple[Option, ...] = ()
    scale: float = 1.0
    kept: bool = False

    @property
    def requests(self) -> list[Request]:
        """The texts to compute: itself, or the question with each option behind it."""
        if not self.options:
            return [Request(self.tokens, self.start)]
        asked = self.tokens[: self.start]
        return [Request((*asked, *option.tokens), self.start) for option in self.options]

    @property
    def num_tokens(self) -> int:
        """Tokens to compute."""
        return max(len(self.tokens), self.start + sum(len(o.tokens) for o in self.options))

    def __post_init__(self) -> None:
        if not 1 <= self.start < len(self.tokens):
            raise ValueError(f"start {self.start} must be in [1, {len(self.tokens)})")
        if not self.weight > 0:
            raise ValueError(f"weight {self.weight} must be above 0")


@dataclass(frozen=True)
class Ranked:
    """Where in a batch a question is whose options are compared.

    Attributes:
        reads: its first read, and the one behind its last.
        option: of each of these reads, shape (n,).
        num_bytes: of each option, shape (k,); float32.
        gold: which option is right.
        scale: of the log-likelihoods per byte.
    """

    reads: tuple[int, int]
    option: Any
    num_bytes: Any
    gold: int
    scale: float


@dataclass(frozen=True)
class Batch:
    """Texts that are computed together, laid out as one pack.

    Attributes:
        items: the texts.
        pack: their rows; read ``i`` is a supervised token. Reads are in the order of the items.
        first: the first read of each item.
        rows: rows whose next-token distribution is needed, shape (r,).
        place: index into ``rows`` of each read, shape (p,).
        targets: the token of each read, shape (p,).
        weights: of each read, shape (p,); float32.
        ranked: items with options by their place in ``items``.
    """

    items: tuple[TrainItem, ...]
    pack: Pack
    first: tuple[int, ...]
    rows: Any
    place: Any
    targets: Any
    weights: Any
    ranked: dict[int, Ranked] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        """What the losses of its reads weigh together."""
        return float(self.weights.double().sum())

    @property
    def num_tokens(self) -> int:
        """Tokens of its texts, shared ones counted for each."""
        return self.pack.num_asked

    def to(self, device: Any) -> Batch:
        """The same batch with its tensors on a device."""
        names = ("rows", "place", "targets", "weights")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class Objective(Protocol):
    """What is minimised."""

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Weighted sum of the losses of all reads.

        Args:
            logits: shape (r, vocabulary), of ``batch.rows``.
            batch: targets and weights.
        """


def make_batch(items: Sequence[TrainItem]) -> Batch:
    """Lay texts out together."""
    requests = [item.requests for item in items]
    pack = build_pack([request for asked in requests for request in asked])
    rows, place = np.unique(pack.read_rows, return_inverse=True)
    sizes = [[len(one.tokens) - one.start for one in asked] for asked in requests]
    counts = [sum(own) for own in sizes]
    first = tuple(accumulate(counts[:-1], initial=0))
    return Batch(
        items=tuple(items),
        pack=pack,
        first=first,
        rows=torch.from_numpy(rows.astype(np.int64)),
        place=torch.from_numpy(place.astype(np.int64).reshape(-1)),
        targets=torch.from_numpy(pack.read_tokens.astype(np.int64)),
        weights=torch.tensor(
            [
                item.weight / count
                for item, count in zip(items, counts, strict=True)
                for _ in range(count)
            ]
        ),
        ranked={
            place: _ranked(item, first[place], sizes[place])
            for place, item in enumerate(items)
            if item.options
        },
    )


def _ranked(item: TrainItem, first: int, sizes: Sequence[int]) -> Ranked:
    labels = [option.label for option in item.options]
    return Ranked(
        reads=(first, first + sum(sizes)),
        option=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
        num_bytes=torch.tensor([float(max(1, option.num_bytes)) for option in item.options]),
        gold=labels.index(item.gold),
        scale=item.scale,
    )


def cut_batches(items: Sequence[TrainItem], most_tokens: int) -> list[Batch]:
    """Cut texts, in their order, into batches of at most so many tokens (or of one longer text)."""
    batches: list[Batch] = []
    waiting: list[TrainItem] = []
    size = 0
    for item in items:
        if waiting and size + item.num_tokens > most_tokens:
            batches.append(make_batch(waiting))
            waiting, size = [], 0
        waiting.append(item)
        size += item.num_tokens
    if waiting:
        batches.append(make_batch(waiting))
    return batches


class Learner(torch.nn.Module):  # type: ignore[misc]
    """A causal language model with an objective; calling it with a batch gives the loss.

    Args:
        model: from transformers, adapters already in place.
        objective: what is minimised.
        lower: that many blocks from the first are frozen, and what they put out may come from a
            cache (`galenic.compress.frozen`).
    """

    def __init__(self, model: Any, objective: Objective, lower: LowerBlocks | None = None) -> None:
        from transformers import AttentionInterface

        super().__init__()
        AttentionInterface.register(ATTENTION, tree_attention)
        self.model = model
        self.objective = objective
        self.lower = lower
        self.attention = model.config._attn_implementation
        self._check_packs()

    def forward(self, batch: Batch) -> Any:
        """The batch's summed loss; call within `attending`, and go backward within it, too."""
        batch = batch.to(self.device)
        return self.objective(self.logits(batch), batch)

    def release(self) -> Any:
        """The model with the attention that it came with, for use elsewhere."""
        _use_attention(self.model, self.attention)
        return self.model

    @staticmethod
    def cut(items: Sequence[TrainItem], most_tokens: int) -> list[Batch]:
        """See `cut_batches`."""
        return cut_batches(items, most_tokens)

    def measure(self, batches: Iterable[Batch]) -> Tally:
        """See `galenic.compress.heldout.measure`."""
        from galenic.compress.heldout import measure

        return measure(self, batches)

    @property
    def device(self) -> Any:
        """Where the model is."""
        return next(self.model.parameters()).device

    def logits(self, batch: Batch) -> Any:
        """Logits at ``batch.rows`` in float32, shape (r, vocabulary)."""
        positions = torch.from_numpy(batch.pack.positions.astype(np.int64))[None]
        inputs: dict[str, Any] = {
            "position_ids": positions.to(self.device),
            "use_cache": False,
            "logits_to_keep": batch.rows.to(self.device),
        }
        with ExitStack() as stack:
            if self.lower is None:
                tokens = torch.from_numpy(batch.pack.tokens.astype(np.int64))[None]
                inputs["input_ids"] = tokens.to(self.device)
            else:
                inputs["inputs_embeds"] = self.lower(batch.pack).to(self.device)
                stack.enter_context(standing_aside(self.lower.blocks))
            return self.model(**inputs).logits[0].float()

    def _check_packs(self) -> None:
        """Switch the model to attention over packs, and see that it computes the same.

        Raises:
            UserError: it does not; an architecture may ask for what packs cannot give.
        """
        if self.model.config._attn_implementation == ATTENTION:
            return  # switched and checked before
        size = int(self.model.get_input_embeddings().weight.shape[0])
        texts = [tuple((7 * i + 31 * (i > 5) * k) % size for i in range(12)) for k in (1, 2)]
        batch = make_batch([TrainItem(text, 1) for text in texts])
        before = self.model.training
        self.model.eval()
        with torch.no_grad(), row_by_row(self.model):
            plain = torch.cat(
                [
                    self.model(torch.tensor([text], device=self.device)).logits[0, :-1].float()
                    for text in texts
                ]
            )
            _use_attention(self.model, ATTENTION)
            try:
                with self.attending(batch):
                    packed = self.logits(batch)[batch.place]
            except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
                raise UserError(f"this model cannot be trained here: {error}") from error
        self.model.train(before)
        packed_weights = getattr(self.model, "hf_quantizer", None) is not None
        share = ROUGH if packed_weights else SAME_LOGITS.get(self.model.dtype, ROUGH)
        allowed = share * float(plain.abs().max())
        difference = float((plain - packed).abs().max())
        if not difference <= allowed:
            raise UserError(
                "this model cannot be trained here: texts computed together come out otherwise "
                f"than one by one (logits differ by {difference:.2g})."
            )

    @staticmethod
    @contextmanager
    def attending(batch: Batch) -> Iterator[None]:
        """Tell the attention which rows see which, for everything computed inside."""
        with active_plan(TreePlan(batch.pack)):
            yield


def _use_attention(model: Any, name: str) -> None:
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation_internal"):
            config._attn_implementation_internal = name


@contextmanager
def row_by_row(model: Any) -> Iterator[None]:
    """Let int8 products round each row by itself.

    Ordinarily, which inputs count as outliers, and are not rounded, is decided for all rows
    together (LLM.int8), so that a row's result depends on the others.
    """
    found: list[Any] = [getattr(module, "state", None) for module in model.modules()]
    states = [state for state in found if hasattr(state, "SCB")]
    before = [state.threshold for state in states]
    for state in states:
        state.threshold = 0.0
    try:
        yield
    finally:
        for state, threshold in zip(states, before, strict=True):
            state.threshold = threshold


class LowerBlocks(Protocol):
    """The frozen beginning of a model."""

    blocks: Sequence[Any]

    def __call__(self, pack: Pack) -> Any:
        """What the last of them puts out for the pack's rows, shape (1, rows, hidden)."""


@contextmanager
def standing_aside(modules: Sequence[Any]) -> Iterator[None]:
    """Let blocks pass on what they get, computing nothing."""

    def pass_on(hidden: Any, *_: Any, **__: Any) -> Any:
        return hidden

    with ExitStack() as undo:
        for module in modules:
            before = module.forward
            module.forward = pass_on
            undo.callback(partial(setattr, module, "forward", before))
        yield
