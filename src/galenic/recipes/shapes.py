"""What a model would be after a recipe: shapes only, no weight is read.

A model is described by its transformers configuration, whatever form it has on disk. The methods'
own arithmetic is applied to it, and the tensors of the GGUF follow from what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from galenic.errors import UserError
from galenic.models.configuration import read_configuration, refusals
from galenic.models.files import ModelFiles
from galenic.models.gguf.family import expected_tensors, read_shape
from galenic.models.gguf.folder import folder_source
from galenic.models.gguf.header import GgufHeader, check_gguf
from galenic.models.gguf.names import EMBEDDING, gguf_name
from galenic.models.gguf.write import GgufSource, SourceTensor, header_bytes

__all__ = ["Outline", "open_outline", "prune_outline"]

_SETTINGS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "sliding_window": "attention.sliding_window",
}
"""A configuration's key to that of a GGUF, without the architecture before it."""
_MODEL_TYPES = {"gemma3": "gemma3_text"}


@dataclass(frozen=True)
class Outline:
    """A model without weights.

    Attributes:
        name: as the user wrote it.
        config: of transformers.
        header_bytes: what a GGUF takes besides its tensors.
        blocks_kept: share of the original blocks' parameters that are neither gone nor zero.
    """

    name: str
    config: Any
    header_bytes: int
    blocks_kept: float = 1.0

    @property
    def source(self) -> GgufSource:
        """Names and shapes of the GGUF's tensors; there is nothing to read from them.

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
        """Keys and values in float16 for so many tokens. Sliding windows are counted as if full."""
        shape = read_shape(self.config.to_dict(), self.name)
        return 2 * 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * context


def _no_weights(*_: int) -> Any:
    raise RuntimeError("an outline has no weights")


def open_outline(files: ModelFiles) -> Outline:
    """Read what a model is, without its weights.

    Raises:
        UserError: the ``train`` extra is missing, or the model is damaged or of an architecture
            that cannot be compressed.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError("planning needs an extra: pip install 'galenic[train]'.") from error
    from galenic.models.layers import check_family
    from galenic.models.text_part import text_part

    if files.kind == "gguf":
        header = check_gguf(files.path)
        tensors = sum(tensor.num_bytes for tensor in header.tensors)
        size = files.path.stat().st_size - tensors
        return Outline(files.name, _gguf_config(header, files.name), size)
    files = text_part(files)
    config = read_configuration(files.path, files.name)
    check_family(config.model_type, files.name)
    if getattr(config, "quantization_config", None) is not None:
        raise UserError(
            f"the weights in {files.path} are quantized. Plan with the model they were made "
            "from: quantizing comes last."
        )
    return Outline(files.name, config, header_bytes(folder_source(files.path)))


def _gguf_config(header: GgufHeader, name: str) -> Any:
    """The sizes in a GGUF's header; transformers reads them too, but takes a quarter minute.

    Raises:
        UserError: the architecture is unknown, or its sizes describe no model.
    """
    import transformers

    from galenic.models.layers import check_family

    architecture = header.metadata["general.architecture"]
    model_type = _MODEL_TYPES.get(architecture, architecture)
    check_family(model_type)
    facts: dict[str, Any] = {
        setting: header.metadata[f"{architecture}.{key}"]
        for setting, key in _SETTINGS.items()
        if f"{architecture}.{key}" in header.metadata
    }
    shapes = {tensor.name: tuple(reversed(tensor.shape)) for tensor in header.tensors}
    sizes = facts | _windows(header.metadata, architecture, facts)
    with refusals(lambda why: UserError(f"the header of {name} describes no model: {why}")):
        return transformers.AutoConfig.for_model(
            model_type,
            **sizes,
            vocab_size=shapes[EMBEDDING][0],
            tie_word_embeddings="output.weight" not in shapes,
            pad_token_id=None,
        )


def _windows(
    metadata: Mapping[str, Any], architecture: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Which layers have a sliding window, where only some do."""
    period = metadata.get(f"{architecture}.attention.sliding_window_pattern")
    if architecture != "gemma3" or not isinstance(period, int):
        return {}
    kinds = ("full_attention", "sliding_attention")
    layers = range(facts["num_hidden_layers"])
    return {"layer_types": [kinds[number % period < period - 1] for number in layers]}


def prune_outline(outline: Outline, method: Any) -> Outline:
    """What a pruning method makes of it; where that hangs on the text, the largest it can be.

    Args:
        outline: the model before.
        method: a `galenic.compression.prune.base.Pruner`.

    Raises:
        UserError: the model cannot be pruned so.
    """
    from galenic.compression.prune.narrow import meta_layout
    from galenic.models.layers import count_parameters

    layout = meta_layout(outline.config)
    method.check(layout)
    if not method.shrinks:
        return replace(outline, blocks_kept=outline.blocks_kept * (1 - method.share))
    configs = method.resulting_configs(layout)
    before = count_parameters(layout).blocks
    sizes = [count_parameters(meta_layout(config)).blocks for config in configs]
    largest = max(range(len(configs)), key=sizes.__getitem__)
    kept = outline.blocks_kept * sizes[largest] / before
    # nearly all of a header is the tokenizer
    config, size = configs[largest], int(outline.config.vocab_size)
    header = outline.header_bytes * int(config.vocab_size) // size
    return replace(outline, config=config, header_bytes=header, blocks_kept=kept)
