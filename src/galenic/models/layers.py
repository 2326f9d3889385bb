"""Find the blocks and linear layers of a decoder, for every family of `galenic.models.families`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, TypeAlias

from galenic.errors import UserError
from galenic.models.families import FAMILIES, Role, check_family

__all__ = [
    "INPUT_OF",
    "Block",
    "InputName",
    "Layout",
    "Linear",
    "ParameterCounts",
    "Sizes",
    "count_parameters",
    "read_layout",
    "text_config",
]

InputName: TypeAlias = Literal["attention", "heads", "ffn", "channels"]

INPUT_OF: Mapping[Role, InputName] = {
    "q": "attention",
    "k": "attention",
    "v": "attention",
    "qkv": "attention",
    "o": "heads",
    "gate": "ffn",
    "up": "ffn",
    "down": "channels",
}
"""Input of each linear layer. Layers with the same input share its statistics. The inputs are: the
normed hidden state before attention, the concatenated head outputs, the normed hidden state before
the feed-forward part, and its (gated) channels."""


@dataclass(frozen=True)
class Sizes:
    """Widths, the same in all blocks.

    Attributes:
        hidden_size: width of the residual stream.
        num_heads: query heads of a block.
        num_kv_heads: key/value heads; each serves ``num_heads / num_kv_heads`` query heads.
        head_size: dimension of a head.
        ffn_size: channels of the feed-forward part.
    """

    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    ffn_size: int

    def shape(self, role: Role) -> tuple[int, int]:
        """Weight shape (outputs, inputs) of the linear layer with that role."""
        queries, keys = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        hidden, ffn = self.hidden_size, self.ffn_size
        shapes: dict[Role, tuple[int, int]] = {
            "q": (queries, hidden),
            "k": (keys, hidden),
            "v": (keys, hidden),
            "qkv": (queries + 2 * keys, hidden),
            "o": (hidden, queries),
            "gate": (ffn, hidden),
            "up": (ffn, hidden),
            "down": (hidden, ffn),
        }
        return shapes[role]


@dataclass(frozen=True)
class Linear:
    """One linear layer of a block: a whole module, or some rows of a fused one.

    Attributes:
        role: its function in the block.
        name: name of the module with its layer number, for error messages.
        module: the ``torch.nn.Linear`` that holds it.
        rows: its output rows within the module.
    """

    role: Role
    name: str
    module: Any
    rows: slice

    @property
    def weight(self) -> Any:
        """Weights, shape (outputs, inputs), as a view: writing to it changes the model."""
        return self.module.weight.detach()[self.rows]

    @property
    def bias(self) -> Any | None:
        """Bias, shape (outputs,), also as a view; None if there is none."""
        return None if self.module.bias is None else self.module.bias.detach()[self.rows]

    @property
    def num_inputs(self) -> int:
        """Number of inputs: columns of the weight."""
        return int(self.module.weight.shape[1])


@dataclass(frozen=True)
class Block:
    """One decoder block: its index from 0, its module, and its linear layers by role."""

    index: int
    module: Any
    linears: Mapping[Role, Linear]

    def reader(self, name: InputName) -> Linear:
        """Return the first linear layer that reads the named input."""
        return next(linear for role, linear in self.linears.items() if INPUT_OF[role] == name)


@dataclass(frozen=True)
class Layout:
    """A causal language model and its parts.

    Attributes:
        family: ``model_type`` of transformers.
        model: the whole model.
        decoder: the part without the output head.
        blocks: in the order they run.
        sizes: widths, the same in all blocks.
    """

    family: str
    model: Any
    decoder: Any
    blocks: tuple[Block, ...]
    sizes: Sizes

    @property
    def norm(self) -> Any:
        """The final norm."""
        return getattr(self.decoder, FAMILIES[self.family].names.norm)


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters; the shared weight of a tied embedding and head counts once.

    Attributes:
        total: all of them.
        embeddings: input embedding and output head.
        blocks: the decoder blocks, their norms and biases included.
    """

    total: int
    embeddings: int
    blocks: int


def text_config(config: Any) -> Any:
    """Configuration of the text decoder in a multimodal model.

    Returns ``config`` itself if it has no separate decoder of a supported architecture.
    """
    inner = config.get_text_config()
    return inner if inner.model_type in FAMILIES else config


def read_layout(model: Any) -> Layout:
    """Find the blocks and linear layers of a transformers causal language model.

    Also works on a model without weights (device ``meta``).

    Raises:
        UserError: the architecture is unknown, or weight shapes contradict the configuration.
    """
    config = model.config
    check_family(config.model_type)
    sizes = _read_sizes(config)
    paths = FAMILIES[config.model_type].modules
    decoder = model.get_decoder()
    blocks = []
    for index, module in enumerate(decoder.layers):
        linears = _read_linears(paths, module, f"layers.{index}", sizes)
        blocks.append(Block(index, module, linears))
    return Layout(config.model_type, model, decoder, tuple(blocks), sizes)


def _read_sizes(config: Any) -> Sizes:
    head_size = getattr(config, "head_dim", None)
    return Sizes(
        hidden_size=config.hidden_size,
        num_heads=config.num_attention_heads,
        num_kv_heads=getattr(config, "num_key_value_heads", config.num_attention_heads),
        head_size=head_size or config.hidden_size // config.num_attention_heads,
        ffn_size=config.intermediate_size,
    )


def _read_linears(
    paths: Mapping[Role, str], block: Any, prefix: str, sizes: Sizes
) -> Mapping[Role, Linear]:
    linears: dict[Role, Linear] = {}
    filled: dict[str, int] = {}
    for role, path in paths.items():
        outputs, _ = sizes.shape(role)
        start = filled.get(path, 0)
        filled[path] = start + outputs
        rows = slice(start, start + outputs)
        linears[role] = Linear(role, f"{prefix}.{path}", attrgetter(path)(block), rows)
    for linear in linears.values():
        _, inputs = sizes.shape(linear.role)
        expected = (filled[paths[linear.role]], inputs)
        found = tuple(linear.module.weight.shape)
        if found != expected:
            raise UserError(
                f"{linear.name} has the shape {found}; the model's configuration says {expected}."
            )
    return linears


def count_parameters(layout: Layout) -> ParameterCounts:
    """Count the parameters of a model."""
    model = layout.model
    outer = {id(w): w for w in (_weight(model, "input"), _weight(model, "output")) if w is not None}
    return ParameterCounts(
        total=sum(p.numel() for p in model.parameters()),  # parameters() yields shared ones once
        embeddings=sum(w.numel() for w in outer.values()),
        blocks=sum(p.numel() for block in layout.blocks for p in block.module.parameters()),
    )


def _weight(model: Any, side: Literal["input", "output"]) -> Any | None:
    module = model.get_input_embeddings() if side == "input" else model.get_output_embeddings()
    return None if module is None else module.weight
