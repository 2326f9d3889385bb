"""The shapes of a model after a recipe, computed without reading weights.

A model is described by its transformers configuration, whatever its format on disk. The pruning
methods' own rules are applied to it, and the tensors of the GGUF follow from the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from galenic.errors import UserError
from galenic.models.configuration import read_configuration
from galenic.models.files import ModelFiles
from galenic.models.gguf.config import header_config
from galenic.models.gguf.dequantize import check_conversion
from galenic.models.gguf.family import expected_tensors, read_shape
from galenic.models.gguf.folder import folder_source
from galenic.models.gguf.header import check_gguf
from galenic.models.gguf.names import gguf_name
from galenic.models.gguf.split import parts_of
from galenic.models.gguf.write import GgufSource, SourceTensor, header_bytes

__all__ = ["Outline", "open_outline", "prune_outline"]


@dataclass(frozen=True)
class Outline:
    """A model without weights.

    Attributes:
        name: name of the model, as the user wrote it.
        config: its transformers configuration.
        header_bytes: size of a GGUF without its tensors.
        blocks_kept: share of the original blocks' parameters that are neither removed nor zero.
    """

    name: str
    config: Any
    header_bytes: int
    blocks_kept: float = 1.0

    @cached_property
    def layout(self) -> Any:
        """Layout of its model on the meta device, built once for all recipes."""
        from galenic.compression.prune.narrow import meta_layout

        return meta_layout(self.config)

    @property
    def source(self) -> GgufSource:
        """A GGUF source with the names and shapes of the tensors, but without data.

        Raises:
            UserError: the model cannot be written as GGUF.
        """
        shape = read_shape(self.config.to_dict(), self.name)
        tensors = tuple(
            SourceTensor(gguf_name(shape, name), size, _no_weights)
            for name, size in expected_tensors(shape).items()
        )
        return GgufSource(self.name, shape.family.architecture, lambda _: None, tensors)

    def kv_bytes(self, context: int) -> int:
        """Size of a float16 KV cache for ``context`` tokens, ignoring sliding windows."""
        shape = read_shape(self.config.to_dict(), self.name)
        return 2 * 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * context


def _no_weights(*_: int) -> Any:
    raise RuntimeError("an outline has no weights")


def open_outline(files: ModelFiles) -> Outline:
    """Read the outline of a model.

    Raises:
        UserError: the ``train`` extra is missing, or the model is damaged or of an architecture
            that cannot be compressed.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError("planning needs an extra: pip install 'galenic[train]'.") from error
    from galenic.models.families import check_family
    from galenic.models.text_part import text_part

    if files.kind == "gguf":
        check_conversion(files)  # every recipe begins with this conversion
        header = check_gguf(files.path)
        tensors = sum(tensor.num_bytes for tensor in header.tensors)
        size = sum(part.stat().st_size for part in parts_of(files.path)) - tensors
        config = header_config(header, files.path)
        _refuse_experts(config, files.name)
        return Outline(files.name, config, size)
    files = text_part(files)
    config = read_configuration(files.path, files.name)
    check_family(config.model_type, files.name)
    if getattr(config, "quantization_config", None) is not None:
        raise UserError(
            f"the weights in {files.path} are quantized. Plan with the model they were made "
            "from: quantizing comes last."
        )
    _refuse_experts(config, files.name)
    return Outline(files.name, config, header_bytes(folder_source(files.path)))


def _refuse_experts(config: Any, name: str) -> None:
    """Refuse models with experts: recipes quantize by importance, which has no support for them."""
    from galenic.models.families import EXPERTS

    if config.model_type in EXPERTS:
        raise UserError(
            f"the feed-forward parts of {name} are experts, for which there are no recipes. Use "
            "`galenic prune --method experts` (or depth) and `galenic quantize --method kquant "
            "--no-importance`."
        )


def prune_outline(outline: Outline, method: Any) -> Outline:
    """Apply a pruning method to shapes; if the result depends on the text, use the largest.

    Args:
        outline: the model before pruning.
        method: a `galenic.compression.prune.base.Pruner`.

    Raises:
        UserError: the method does not suit the model.
    """
    from galenic.compression.prune.narrow import meta_layout
    from galenic.models.layers import count_parameters

    layout = outline.layout
    method.check_model(layout)
    if not method.shrinks:
        return replace(outline, blocks_kept=outline.blocks_kept * (1 - method.share))
    configs = method.resulting_configs(layout)
    before = count_parameters(layout).blocks
    sizes = [count_parameters(meta_layout(config)).blocks for config in configs]
    largest = max(range(len(configs)), key=sizes.__getitem__)
    kept = outline.blocks_kept * sizes[largest] / before
    # the header consists mostly of the tokenizer
    config, size = configs[largest], int(outline.config.vocab_size)
    header = outline.header_bytes * int(config.vocab_size) // size
    return replace(outline, config=config, header_bytes=header, blocks_kept=kept)
