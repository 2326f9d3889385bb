"""Low-rank adapters for linear layers, using the library peft."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from galenic.cache import file_sha256
from galenic.errors import UserError
from galenic.models.configuration import refusals
from galenic.models.families import Role
from galenic.models.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, check_adapter
from galenic.models.layers import Block, Layout, Linear
from galenic.strict_json import read_object
from galenic.training.finetune.base import Finetuner

if TYPE_CHECKING:
    from galenic.models.checkpoint import Checkpoint

__all__ = ["LoRA", "lay_over", "quiet_peft"]

WHOLE = (".base_layer.weight", ".original_module.weight")
"""Suffixes of the base's own embedding and head weights, which peft may save with an adapter."""


class LoRA(Finetuner):
    """Replace ``W`` by ``W + s B A``, training two low-rank matrices for each linear layer.

    rsLoRA: Kalajdzievski (2023), https://arxiv.org/abs/2312.03732. DoRA: Liu et al. (2024),
    https://arxiv.org/abs/2402.09353. QLoRA, on a quantized base: Dettmers et al. (2023),
    https://arxiv.org/abs/2305.14314.
    """

    name = "lora"
    title = "low-rank matrices beside the linear layers (LoRA, rsLoRA, DoRA)"
    reference_url = "https://arxiv.org/abs/2106.09685"
    saves = "adapter"

    rank: int = Field(16, ge=1, description="Rank of each adapter.")
    alpha: float = Field(32.0, gt=0, description="Adapters are scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's inputs.")
    rslora: bool = Field(False, description="Scale by alpha / sqrt(rank) instead (rsLoRA).")
    dora: bool = Field(False, description="Learn magnitude and direction separately (DoRA).")
    targets: tuple[Role, ...] = Field(
        ("q", "k", "v", "qkv", "o", "gate", "up", "down"),
        min_length=1,
        description="Linear layers that get an adapter.",
    )

    base_bits: int | None = Field(
        None,
        description="Hold the frozen weights in 8 bits (int8) or 4 bits (nf4) with bitsandbytes "
        "(QLoRA): less memory, slower on a CPU.",
    )

    for_type: str | None = Field(
        None,
        description="Quantization-aware training for this block type (Q4_0, Q4_K, IQ4_NL ...), "
        "rounded by ggml at each step. `galenic quantize --type TYPE --no-importance` "
        "of the merged model then stores exactly what was trained.",
    )

    @field_validator("for_type")
    @classmethod
    def _known_type(cls, kind: str | None) -> str | None:
        from galenic.training.finetune.stored import check_type

        return None if kind is None else check_type(kind)

    @model_validator(mode="after")
    def _plain_sum(self) -> LoRA:
        given = {"--base-bits": self.base_bits, "--dora": self.dora, "--dropout": self.dropout}
        if self.for_type and (odd := [name for name, value in given.items() if value]):
            raise UserError(f"--for-type cannot be combined with {', '.join(odd)}.")
        return self

    @field_validator("base_bits")
    @classmethod
    def _known_bits(cls, bits: int | None) -> int | None:
        if bits not in (None, 4, 8):
            raise UserError(f"--base-bits {bits}: allowed are 4 and 8; leave it out for float32.")
        return bits

    @field_validator("targets", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    def check(self, layout: Layout) -> None:
        super().check(layout)
        if not _found(layout.blocks[0], self.targets):
            raise UserError(
                f"--targets {','.join(self.targets)}: the blocks of a {layout.family} model have "
                f"only the linear layers {', '.join(layout.blocks[0].linears)}."
            )
        if self.base_bits is not None:
            from galenic.models.packing.bitsandbytes import require_bitsandbytes

            require_bitsandbytes()
        narrowest = min(
            min(linear.module.weight.shape)
            for block in layout.blocks
            for linear in _found(block, self.targets)
        )
        if self.rank > narrowest:
            raise UserError(
                f"--rank {self.rank} is more than the width of the narrowest linear layer: "
                f"{narrowest}."
            )

    def load(self, checkpoint: Checkpoint) -> Layout:
        if self.base_bits is None:
            layout = super().load(checkpoint)
            if self.for_type is not None:
                from galenic.training.finetune.stored import round_others_

                round_others_(layout, self.for_type, self.adapted(layout))
            return layout
        from galenic.training.loading import load_packed

        return load_packed(checkpoint, self.base_bits)

    def prepare(self, layout: Layout, seed: int) -> Any:
        import torch

        with quiet_peft():
            import peft

        names = self.adapted(layout)
        config = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            use_dora=self.dora,
            target_modules=sorted(names),
        )
        with torch.random.fork_rng(), quiet_peft():
            torch.manual_seed(seed)
            model = peft.get_peft_model(layout.model, config)
        if self.for_type is not None:
            from galenic.training.finetune.stored import round_adapted_

            round_adapted_(model, self.for_type)
        return model

    def adapted(self, layout: Layout) -> set[str]:
        """Return the names, within the decoder, of the modules that get an adapter."""
        blocks = self.trained_blocks(layout)
        return {linear.name for block in blocks for linear in _found(block, self.targets)}

    def save(self, model: Any, folder: Path, *, base: str, source: Path) -> dict[str, float]:  # noqa: ARG002
        with quiet_peft():
            model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # an empty template
        path = folder / ADAPTER_CONFIG
        config = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base
        config["target_modules"] = sorted(config["target_modules"])  # peft writes a set, unordered
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
        (folder / ADAPTER_WEIGHTS).chmod(path.stat().st_mode)  # was owner-only
        return {}


def _found(block: Block, targets: Sequence[Role]) -> list[Linear]:
    """The targeted linear layers that the block has; experts are not separate linear layers."""
    return [block.linears[role] for role in targets if role in block.linears]


def lay_over(model: Any, folder: Path) -> Any:
    """Load a saved adapter of any kind that peft supports onto a model; it is not trainable.

    Raises:
        UserError: the adapter does not fit the model, or has a regular expression that may take
            very long.
    """
    from safetensors import safe_open

    from galenic.models.finite import check_finite

    check_adapter(folder)
    if read_object(folder / ADAPTER_CONFIG).get("init_lora_weights") == "lora_ga":
        # peft recomputes the other changes of the base, and for this one needs the gradients
        raise UserError(
            f"{folder} was trained beside changed weights of its base (lora_ga), which are not "
            "stored. Convert it where it was trained: save_pretrained with "
            "path_initial_model_for_weight_conversion."
        )
    check_finite(folder / ADAPTER_WEIGHTS, file_sha256(folder / ADAPTER_WEIGHTS))
    with quiet_peft():
        import peft
    with (
        refusals(lambda why: UserError(f"{folder} is not an adapter of this model: {why}")),
        quiet_peft(),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Found missing adapter keys")  # checked below
        both = peft.PeftModel.from_pretrained(model, str(folder))
        found = set(peft.get_peft_model_state_dict(both, save_embedding_layers=False))
    with safe_open(folder / ADAPTER_WEIGHTS, "np") as file:
        names = {name for name in file.keys() if not name.endswith(WHOLE)}  # noqa: SIM118
        saved = {name.replace(".modules_to_save.", ".") for name in names}
    if unmatched := sorted(found ^ saved):
        raise UserError(
            f"{folder} is not an adapter of this model: {len(unmatched)} tensors have no "
            f"counterpart, the first {unmatched[0]}."
        )
    return both


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Context that suppresses peft's warnings about things that the callers here handle."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # imported by peft; warns of kernels
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        # `merge` handles or reports the consequences of these itself
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings=True.*")
        warnings.filterwarnings("ignore", message=".*embeddings are no longer tied.*")
        warnings.filterwarnings("ignore", message="`lora_bias=True` was passed.*")
        warnings.filterwarnings("ignore", message=r".*LoRA tensor\(s\) have invalid shape.*")
        yield
