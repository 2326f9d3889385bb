"""GPTQ: round weights column by column and let the columns behind make up for the error.

Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers (2022), https://arxiv.org/abs/2210.17323. The levels are those of ggml's
plain block types, so the codes found here go into a GGUF as they are: nothing is rounded twice.
Blocks are fitted in order, each to what the quantized ones before it put out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from galenic.compress.quantize.base import WEIGHTS, QuantizeJob, Quantizer
from galenic.errors import UserError
from galenic.models.layers import INPUT_OF, Block, InputName

if TYPE_CHECKING:
    from galenic.compress.quantize.grid import PlannedMatrix
    from galenic.compress.quantize.kept import KeptTensors
    from galenic.models.gguf_write import GgufSource

__all__ = ["GPTQ"]

BLOCK = 32
"""Weights that share a scale in the file."""


class GPTQ(Quantizer):
    """Round the weights of the blocks so that the outputs change least; embedding and head plainly.

    The file holds a scale for every 32 weights whatever ``group_size`` says, as its format has it:
    a larger group makes no smaller file.
    """

    name = "gptq"
    title = "least output error at 4, 5 or 8 bits, other weights adjusted"
    reference_url = "https://arxiv.org/abs/2210.17323"
    extra = "train"

    bits: Literal[4, 5, 8] = Field(4, description="Bits of a weight's code: 4, 5 or 8.")
    symmetric: bool = Field(
        True,
        description="Levels on both sides of zero (IQ4_NL, Q4_0, Q5_0, Q8_0); without, each block "
        "has a minimum as well (Q4_1, Q5_1), half a bit more a weight.",
    )
    levels: Literal["uneven", "even"] = Field(
        "uneven",
        description="At 4 symmetric bits: uneven = levels closer together near zero (IQ4_NL), even "
        "= Q4_0.",
    )
    group_size: int = Field(
        BLOCK, ge=BLOCK, description="Neighbouring inputs that share a scale, a multiple of 32."
    )
    damping: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Added to the diagonal of the Hessian, as a share of its mean.",
    )
    act_order: bool = Field(
        True,
        description="Round the inputs with the largest activations first; scales are then fitted "
        "before.",
    )
    block_size: int = Field(
        128, ge=BLOCK, description="Columns that are rounded before the ones behind are changed."
    )
    head_type: str = Field(
        "Q8_0", description="Type of embedding and head: Q8_0, Q6_K, Q5_0, Q4_0, F16 ..."
    )

    @property
    def calibrated(self) -> bool:
        return True

    @property
    def type_name(self) -> str:
        """The ggml type of the blocks' weights."""
        if self.bits == 4 and self.symmetric and self.levels == "uneven":
            return "IQ4_NL"
        return f"Q{self.bits}_{0 if self.symmetric else 1}"

    @model_validator(mode="after")
    def _whole_groups(self) -> GPTQ:
        from galenic.compress.quantize.kquant import fitting_type

        if self.bits == 8 and not self.symmetric:
            raise UserError("--bits 8 has symmetric levels only (Q8_0). Leave --symmetric on.")
        if self.group_size % BLOCK:
            raise UserError(f"--group-size {self.group_size} is no multiple of {BLOCK}.")
        if self.block_size % self.group_size:
            raise UserError(
                f"--block-size {self.block_size} is no multiple of --group-size {self.group_size}: "
                "a group must not lie in two blocks."
            )
        fitting_type((1, BLOCK), self.head_type)
        return self

    def check(self, job: QuantizeJob) -> int:
        from galenic.models.gguf_write import stored_bytes

        for linear in job.checkpoint.shapes.blocks[0].linears.values():
            columns = linear.num_inputs
            if columns % BLOCK == 0 and columns % self.group_size:
                raise UserError(
                    f"--group-size {self.group_size}: {linear.name} has {columns} inputs, which "
                    f"groups of {self.group_size} do not divide."
                )
        types = self.types(job.source)
        return sum(stored_bytes(tensor.shape, types[tensor.name]) for tensor in job.source.tensors)

    def types(self, source: GgufSource) -> dict[str, str]:
        """Type of every tensor of the file; rows that 32 does not divide become F16."""
        from galenic.compress.quantize.kquant import fitting_type, quantizes

        types = {}
        for tensor in source.tensors:
            wanted = self.type_name if tensor.name.startswith("blk.") else self.head_type
            types[tensor.name] = fitting_type(tensor.shape, wanted) if quantizes(tensor) else "F32"
        return types

    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        from galenic.compress.quantize.kept import KeptTensors
        from galenic.models.gguf_write import write_gguf

        types = self.types(job.source)
        with TemporaryDirectory(prefix=".gptq-", dir=folder) as scratch:
            kept = KeptTensors(Path(scratch), job.checkpoint.folder)
            self._fit(job, types, kept, advance)
            job.watcher.stage("writing")
            write_gguf(job.source, folder / WEIGHTS, types, encode=kept.encode)

    def _fit(
        self, job: QuantizeJob, types: Mapping[str, str], kept: KeptTensors, advance: Any
    ) -> None:
        import torch

        from galenic.compress.calibrate import walk
        from galenic.compress.statistics import Gram
        from galenic.models.stream import open_stream
        from galenic.runtimes.threads import choose_threads

        tokens = job.tokens
        torch.set_num_threads(choose_threads())
        stream = open_stream(job.checkpoint, num_tokens=tokens.numel())
        job.watcher.stage(f"quantizing with {self.name}", total=len(stream.layout.blocks))
        rewrite_ = partial(self.quantize_block_, types=types, kept=kept)
        walk(stream, tokens, Gram, rewrite_, advance)

    def quantize_block_(
        self,
        block: Block,
        inputs: Mapping[InputName, Any],
        *,
        types: Mapping[str, str],
        kept: KeptTensors,
    ) -> None:
        """Round a block's linear maps in place and keep their bytes.

        Args:
            block: with float32 weights.
            inputs: a Gram matrix of each input.
            types: GGUF tensor name to type; those of `GRIDS` are fitted, others left as they are.
            kept: takes the bytes.
        """
        from galenic.compress.quantize.columns import one_thread, read_problem, solve
        from galenic.compress.quantize.grid import GRIDS

        planned: dict[str, list[PlannedMatrix]] = {}
        for name, statistic in inputs.items():
            grids = {
                role: GRIDS[types[kept.name(linear.name)]]
                for role, linear in block.linears.items()
                if INPUT_OF[role] == name and types[kept.name(linear.name)] in GRIDS
            }
            if not grids:
                continue
            problem = read_problem(statistic, self.damping, act_order=self.act_order)
            for role, grid in grids.items():
                linear = block.linears[role]
                weight = linear.weight.double()
                with one_thread():
                    matrix = solve(weight, problem, grid, self.group_size, self.block_size)
                linear.weight.copy_(matrix.values())
                planned.setdefault(linear.name, []).append(matrix)
        for name_of_module, matrices in planned.items():
            kept.put(name_of_module, matrices)
