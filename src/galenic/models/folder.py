"""Check that a Hugging Face model folder is complete: weights, config and tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.safe_pattern import check_patterns
from galenic.models.tensors import read_table
from galenic.reading import files_in
from galenic.strict_json import read_object

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "MANIFEST",
    "adapter_config",
    "check_adapter",
    "check_folder",
    "config_json",
]

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MANIFEST = "manifest.json"
"""File beside the weights that records how Galenic produced them."""
LONGEST_NAME = 255
"""Maximum bytes of a file name on common file systems."""
PATTERNS = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
"""Adapter settings that are a list of module names or a regular expression."""
NOT_WEIGHTS = (
    "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT",
    "CPT", "CARTRIDGE", "POLY", "XLORA",
)  # fmt: skip
"""Types of adapters that add prompts or choose among adapters, so cannot be merged into weights.
X-LoRA would also fetch further adapters by their names."""
MOST_RANK = 4096
MOST_LAYERS = 1000
TOKENIZERS = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spm.model",),
)


def check_adapter(folder: Path) -> None:
    """Raise UserError if a folder holds no complete adapter, or one with unsafe patterns."""
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not an adapter: it has no {name}.")
    config = read_object(folder / ADAPTER_CONFIG)
    check_patterns(config, str(folder / ADAPTER_CONFIG))
    for name in PATTERNS:
        given = config.get(name)
        if not (given is None or isinstance(given, str) or _are_texts(given)):
            raise UserError(f"{folder / ADAPTER_CONFIG}: {name} is not a list of names.")
    tensors = read_table(folder / ADAPTER_WEIGHTS)
    largest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
    if why := _reason_to_refuse(config, largest):
        raise UserError(f"{folder / ADAPTER_CONFIG}: {why}.")


def _reason_to_refuse(config: dict[str, Any], largest: int) -> str:
    """Return what of an adapter's configuration would make peft fetch, import or allocate too much.

    Args:
        config: the configuration.
        largest: largest dimension of its tensors.
    """
    if (kind := str(config.get("peft_type")).upper()) in NOT_WEIGHTS:
        return f"adapters of the type {kind} cannot be merged into weights"
    if config.get("megatron_config"):
        return "megatron_config, which imports a module by its name, is not taken"
    ranks, most = config.get("rank_pattern"), max(largest, MOST_RANK)
    given = [config.get("r"), *(ranks.values() if isinstance(ranks, dict) else ())]
    if any(isinstance(one, int) and one > most for one in given):
        return f"a rank is larger than {most:,}"
    layers = config.get("layer_replication") or []
    try:
        number = sum(max(0, end - start) for start, end in layers)
    except (TypeError, ValueError):
        return "layer_replication is not a list of pairs of numbers"
    return (
        "" if number <= MOST_LAYERS else f"layer_replication makes more than {MOST_LAYERS:,} layers"
    )


def _are_texts(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(one, str) for one in given)


def adapter_config(folder: Path) -> dict[str, Any]:
    """Read the ``adapter_config.json`` of an adapter folder.

    Raises:
        UserError: it is not a JSON object.
    """
    return read_object(folder / ADAPTER_CONFIG)


def check_folder(folder: Path) -> list[Path]:
    """Check that a folder is a complete Hugging Face model; return its weight files in name order.

    Raises:
        UserError: config, tokenizer or weights are missing, damaged or truncated.
    """
    config = folder / "config.json"
    if not config.is_file():
        adapter = (folder / "adapter_config.json").is_file()
        hint = " It holds a LoRA adapter: merge it into its base model first." if adapter else ""
        raise UserError(f"{folder} is not a model folder: it has no config.json.{hint}")
    settings = config_json(folder)
    if "model_type" not in settings and "architectures" not in settings:
        raise UserError(f"{config} names neither a model_type nor architectures.")
    for part in (settings, settings.get("text_config")):
        layers = part.get("num_hidden_layers") if isinstance(part, dict) else None
        if isinstance(layers, int) and layers > MOST_LAYERS:
            raise UserError(f"{config}: {layers:,} layers; a model may have {MOST_LAYERS:,}.")
    weights = _weight_files(folder)
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        wanted = ", ".join(" + ".join(names) for names in TOKENIZERS)
        raise UserError(f"{folder} has no tokenizer; expected one of: {wanted}.")
    return weights


def config_json(folder: Path) -> dict[str, Any]:
    """Read the ``config.json`` of a folder.

    Raises:
        UserError: it is not a JSON object.
    """
    return read_object(folder / "config.json")


def _weight_files(folder: Path) -> list[Path]:
    single = folder / "model.safetensors"
    if single.is_file():
        read_table(single)
        return [single]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _check_shards(index)
    if any(folder.glob("pytorch_model*.bin")):
        raise UserError(
            f"{folder} has its weights as pytorch_model.bin only, a pickle that can run any code "
            "when it is read. Get the safetensors form of the model, or convert it where you trust "
            "it: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER); of an "
            "encoder, AutoModel."
        )
    others = [path.name for path in files_in(folder, ".safetensors")]
    found = f" It has {', '.join(others[:5])}, but no index of them." if others else ""
    raise UserError(
        f"{folder} has no weights; expected model.safetensors or model.safetensors.index.json "
        f"with its shards.{found}"
    )


def _check_shards(index: Path) -> list[Path]:
    shards = read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{index} has no weight_map.")
    names = sorted({str(name) for name in shards.values()})
    if any(Path(name).name != name or not 0 < len(name.encode()) <= LONGEST_NAME for name in names):
        raise UserError(f"{index} names files outside its own folder, or invalid file names.")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise UserError(
            f"{index.parent} lacks {len(missing)} of {len(names)} weight files: "
            f"{', '.join(missing[:5])}. Download them again."
        )
    held = {name: read_table(index.parent / name) for name in names}
    for tensor, name in shards.items():
        if tensor not in held[str(name)]:
            raise UserError(f"{index.parent / name} lacks the tensor {tensor!r} of the index.")
    return [index.parent / name for name in names]
