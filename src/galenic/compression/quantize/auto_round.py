"""AutoRound: tune whether each weight is rounded up or down, by signed gradient descent.

Cheng, Zhang, Shen, Cai, He, Lv and Liu, Optimize Weight Rounding via Signed Gradient Descent for
the Quantization of LLMs (2023), https://arxiv.org/abs/2309.05516. The tuning is done by its
authors' package, https://github.com/intel/auto-round. The package's GGUF writer supports tokenizers
of few families only, so the codes and scales it finds are written here, without rounding again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from galenic.compression.quantize.base import WEIGHTS, Quantizer
from galenic.compression.quantize.job import QuantizeJob
from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.compression.quantize.types.grid import PlannedMatrix

__all__ = ["AutoRound"]

BLOCK = 32
"""Number of weights that share a scale, in the file and while tuning."""
OFF_GRID = 0.05
"""Tolerance, in steps, when checking that the package's weights lie on the grid."""


class AutoRound(Quantizer):
    """Tunes the rounding block by block; embedding and head are rounded to the nearest level.

    The whole model is held in memory.
    """

    name = "auto_round"
    title = "rounding tuned by signed gradient descent, by Intel's auto-round"
    reference_url = "https://arxiv.org/abs/2309.05516"
    extra = "auto-round"

    bits: Literal[4, 5] = Field(4, description="Bits of a weight's code: 4 (Q4_0) or 5 (Q5_0).")
    iters: int = Field(200, ge=0, description="Tuning steps per block; 0: rounding without tuning.")
    batch_size: int = Field(8, ge=1, description="Sequences in a step.")
    head_type: str | None = Field(
        None,
        description="Block type of embedding and head: Q8_0, Q6_K, F16 ...; default: that of the "
        "blocks.",
    )

    @property
    def calibrated(self) -> bool:
        return True

    @property
    def type_name(self) -> str:
        """Name of the ggml type of the blocks' weights."""
        return f"Q{self.bits}_0"

    def require(self) -> None:
        if find_spec("auto_round") is None:
            raise UserError(
                "--method auto_round needs an extra: pip install 'galenic[train,auto-round]'."
            )

    def check(self, job: QuantizeJob) -> int:
        from galenic.models.gguf.write import stored_bytes

        types = self.types(job)
        if not _linears(job)[0]:
            raise UserError(
                f"auto-round tunes matrices with rows and columns of a multiple of {BLOCK}: "
                f"{job.files.name} has none."
            )
        return sum(stored_bytes(tensor.shape, types[tensor.name]) for tensor in job.source.tensors)

    def types(self, job: QuantizeJob) -> dict[str, str]:
        """Type of every tensor by name; F16 if the row length is not a multiple of 32.

        Raises:
            UserError: ``head_type`` is unknown.
        """
        from galenic.compression.quantize.kquant import fitting_type, quantizes

        types = {}
        for tensor in job.source.tensors:
            inner = tensor.name.startswith("blk.")
            wanted = self.type_name if inner else self.head_type or self.type_name
            types[tensor.name] = fitting_type(tensor.shape, wanted) if quantizes(tensor) else "F32"
        return types

    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        from galenic.compression.quantize.kept import KeptTensors
        from galenic.models.gguf.write import write_gguf

        types = self.types(job)
        with TemporaryDirectory(prefix=".auto-round-", dir=folder) as scratch:
            kept = KeptTensors(Path(scratch), job.checkpoint.folder)
            tuned, left = _linears(job)
            job.watcher.stage(f"tuning with {self.name}", total=len(job.checkpoint.shapes.blocks))
            model = self._tune(job, left, advance)
            found = dict(model.get_decoder().named_modules())
            for name in tuned:
                kept.put(name, [self._matrix(found[name]).encode()])
            job.watcher.stage("writing")
            write_gguf(job.source, folder / WEIGHTS, types, encode=kept.encode)

    def _tune(self, job: QuantizeJob, left: list[str], advance: Callable[[int], None]) -> Any:
        """Return the tuned model: weights lie on the grid, modules have a ``scale`` attribute.

        ``left`` has the names, within the decoder, of linear layers that are not tuned.
        """
        import torch
        import transformers

        from galenic.compression.blocks.tokens import load_tokenizer
        from galenic.models.quiet import quiet_transformers

        tokens = job.tokens
        with quiet_transformers():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                job.checkpoint.folder, dtype=torch.float32
            )
        modules = model.named_modules()
        prefix = next(name for name, module in modules if module is model.get_decoder())
        with _package(advance) as auto_round, torch.random.fork_rng(devices=[]):
            tuner = auto_round.AutoRound(
                model,
                load_tokenizer(job.checkpoint),
                scheme=f"gguf:{self.type_name.lower()}",
                layer_config={f"{prefix}.{name}": {"bits": 16} for name in left},
                # pass tokens: given a name, the package would download a data set
                dataset=[{"input_ids": one, "attention_mask": torch.ones_like(one)}
                         for one in tokens.split(1)],
                iters=self.iters,
                nsamples=len(tokens),
                seqlen=tokens.shape[1],
                batch_size=min(self.batch_size, len(tokens)),
                seed=job.config.seed,
                amp=False,  # stay in float32: bfloat16 would round the weights
                device_map="cpu",
                low_cpu_mem_usage=False,
                enable_torch_compile=False,  # needs a compiler
                trust_remote_code=False,
            )  # fmt: skip
            tuned, _ = tuner.quantize()
        return tuned

    def _matrix(self, module: Any) -> PlannedMatrix:
        """Extract codes and scales of a tuned linear layer.

        Raises:
            UserError: the weights do not lie on the grid of the block type.
        """
        from galenic.compression.quantize.types.grid import GRIDS, PlannedMatrix, Scales

        grid = GRIDS[self.type_name]
        weight = module.weight.detach().float()
        rows, columns = weight.shape
        scale = module.scale.float().reshape(rows, columns // BLOCK)
        zeros = scale.new_zeros(scale.shape)
        wide = Scales(scale[..., None], zeros[..., None])
        codes = grid.round(weight.reshape(rows, -1, BLOCK), wide)
        distance = (weight.reshape(codes.shape) - grid.values(codes, wide)).abs()
        if not bool((distance <= OFF_GRID * wide.scale.abs()).all()):
            raise UserError(
                f"auto-round gave weights that are not of {self.type_name}. Install the version "
                "that galenic[auto-round] names."
            )
        halves = Scales(scale.half().float(), zeros)
        return PlannedMatrix(grid, codes.reshape(rows, columns), halves)


def _linears(job: QuantizeJob) -> tuple[list[str], list[str]]:
    """Names, within the decoder, of the blocks' linear layers: those tuned, and those not tuned.

    The package only tunes layers whose inputs and outputs are multiples of 32. Others are rounded
    to the nearest level if the inputs are a multiple of 32, and stored in F16 otherwise.
    """
    tuned: list[str] = []
    left: list[str] = []
    for block in job.checkpoint.shapes.blocks:
        modules = {linear.name: linear.module for linear in block.linears.values()}
        for name, module in modules.items():
            fits = module.in_features % BLOCK == 0 and module.out_features % BLOCK == 0
            (tuned if fits else left).append(name)
    return tuned, left


@contextmanager
def _package(advance: Callable[[int], None]) -> Iterator[Any]:
    """Import the package, with its messages and progress bar suppressed."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # imported but not used
    import auto_round
    from auto_round.compressors import orchestrator
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        """A silent progress bar that reports the blocks done to ``advance``."""

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings | {"disable": True})
            self.done = 0

        def update(self, count: float | None = 1) -> None:
            self.done += int(count or 0)
            advance(self.done)

    logger = logging.getLogger("autoround")
    level = logger.level
    logger.setLevel(logging.ERROR)
    orchestrator.tqdm = Bar
    try:
        yield auto_round
    finally:
        orchestrator.tqdm = tqdm
        logger.setLevel(level)
