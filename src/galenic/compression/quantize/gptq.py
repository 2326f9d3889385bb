"""GPTQ: round weights column by column and compensate each error in the later columns.

Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers (2022), https://arxiv.org/abs/2210.17323. Weights are rounded to the levels
of ggml's block types, so the codes are stored in the GGUF directly, without rounding twice. For
k-quants and IQ4_XS, ggml determines the scales and sub-scales; for types with blocks of 32 weights,
scales are fitted here.
The head is fitted first, then the blocks in order, each on the outputs of the quantized ones before
it, including the embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from galenic.compression.quantize.base import WEIGHTS
from galenic.compression.quantize.job import QuantizeJob
from galenic.compression.quantize.typed import TypedQuantizer
from galenic.errors import UserError
from galenic.models.layers import INPUT_OF, Block, InputName, Linear

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from galenic.compression.blocks.statistics import Gram
    from galenic.compression.quantize.allocate import TypeChoice
    from galenic.compression.quantize.columns import Problem
    from galenic.compression.quantize.importance import Sensitivity
    from galenic.compression.quantize.kept import KeptTensors
    from galenic.models.gguf.write import GgufSource, SourceTensor

__all__ = ["GPTQ"]

BLOCK = 32
"""Number of weights that share a scale in the file."""
INNER = "blk."
"""Prefix of the names of the blocks' tensors."""
FITTED_VALUES = 1 << 20
"""Number of weights of embedding or head that are fitted at once."""


class GPTQ(TypedQuantizer):
    """Round weights so that the outputs of linear layers change least.

    The head is fitted to its inputs in the dense model; then the blocks are fitted one by one, with
    the quantized embedding. Tensors that a mix stores in types without scalar levels (IQ2 and IQ3
    use tables of vectors) are rounded by ggml with importance, and later ones are fitted to the
    result. The format stores a scale for every 32 weights, so a larger ``group_size`` does not make
    the file smaller.
    """

    name = "gptq"
    title = "least output error at 2 to 8 bits, other weights adjusted, mixed under a budget"
    reference_url = "https://arxiv.org/abs/2210.17323"
    extra = "train"

    head_type: str | None = Field(
        None,
        description="Block type of embedding and head: Q8_0, Q6_K, F16 ...; default: chosen as "
        "for the other matrices.",
    )
    group_size: int = Field(
        BLOCK,
        ge=BLOCK,
        description="Number of neighbouring inputs that share a scale; a multiple of 32.",
    )
    damping: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Damping added to the diagonal of the Hessian, as a fraction of its mean; ten "
        "times as much for the head.",
    )
    act_order: bool = Field(
        True,
        description="Quantize inputs in order of decreasing activation; scales are fitted first.",
    )
    block_size: int = Field(
        128, ge=BLOCK, description="Columns quantized before the remaining ones are updated."
    )

    @property
    def calibrated(self) -> bool:
        return True

    @model_validator(mode="after")
    def _whole_groups(self) -> GPTQ:
        from galenic.compression.quantize.kquant import fitting_type

        if self.group_size % BLOCK:
            raise UserError(f"--group-size {self.group_size} is not a multiple of {BLOCK}.")
        if self.block_size % self.group_size:
            raise UserError(
                f"--block-size {self.block_size} is not a multiple of --group-size "
                f"{self.group_size}: a group must not lie in two blocks."
            )
        if self.head_type is not None:
            fitting_type((1, BLOCK), self.head_type)
        return self

    @model_validator(mode="after")
    def _levels_known(self) -> GPTQ:
        from galenic.compression.quantize.types.lattice import LATTICES

        fitted = [kind for kind in self._known() if kind in LATTICES]
        lacking = f"--type {self.type}" if self.type else "what --exclude leaves"
        if not fitted:
            raise UserError(
                f"{lacking}: gptq has levels for {', '.join(LATTICES)} only. For other types "
                "there is --method kquant."
            )
        return self

    def candidates(self, tensor: SourceTensor) -> tuple[str, ...]:
        from galenic.compression.quantize.types.lattice import LATTICES

        if self.head_type and not is_inner(tensor):
            return (self.head_type,)
        known = self._known()
        return self._quick(known if self.mixed else tuple(k for k in known if k in LATTICES))

    def notes(self, job: QuantizeJob) -> tuple[str, ...]:
        options = self.type_choices(job.source).items()
        whole = [name for name, kinds in options if "F16" in kinds and name.startswith(INNER)]
        found = super().notes(job)
        if whole:
            found += (f"{len(whole)} tensors have rows that 32 does not divide and stay F16",)
        if any(kind.startswith(("IQ2", "IQ3")) for _, kinds in options for kind in kinds):
            found += ("tensors in IQ2 and IQ3 types are rounded with importance, not by GPTQ",)
        return found

    def check(self, job: QuantizeJob) -> int:
        for linear in job.checkpoint.shapes.blocks[0].linears.values():
            columns = linear.num_inputs
            if columns % BLOCK == 0 and columns % self.group_size:
                raise UserError(
                    f"--group-size {self.group_size}: {linear.name} has {columns} inputs, which "
                    f"groups of {self.group_size} do not divide."
                )
        return super().check(job)

    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        from galenic.compression.quantize.kept import KeptTensors
        from galenic.models.gguf.write import write_gguf

        found, head, problem = self._look(job, folder, advance)
        types = self.choose(job, found, advance)
        with TemporaryDirectory(prefix=".gptq-", dir=folder) as scratch:
            kept = KeptTensors(Path(scratch), job.checkpoint.folder)
            job.watcher.stage("quantizing embedding and head")
            for tensor in job.source.tensors:
                if not is_inner(tensor):
                    mine = problem if tensor.name == head else None
                    weights = found.columns.get(tensor.name)
                    self.fit_outer(tensor, types[tensor.name], kept, mine, weights)
            self._fit_blocks(job, types, kept, advance)
            job.watcher.stage("writing")
            write_gguf(job.source, folder / WEIGHTS, types, encode=kept.encode)

    def _look(
        self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]
    ) -> tuple[Sensitivity, str, Problem]:
        """Run the dense model; return the sensitivity, and the head's GGUF name and `Problem`."""
        from galenic.compression.quantize.costs import Costs
        from galenic.compression.quantize.importance import measure_sensitivity
        from galenic.models.packing.products import rounded_products
        from galenic.models.paged import PagedModel

        tokens = job.tokens
        model = PagedModel(job.checkpoint, job.source)
        total = (1 + self.mixed) * len(model.layout.blocks)
        job.watcher.stage("measuring what weights matter", total=total)
        costs = Costs(model, self.damping, act_order=self.act_order, blocks=self.mixed)
        with rounded_products(model.layout):
            found = measure_sensitivity(
                model, tokens, folder, advance,
                gradients=self.mixed, seed=job.config.seed, onlooker=costs,
            )  # fmt: skip
        problem = costs.head_problem()
        return replace(found, fitted=costs.columns), costs.head, problem

    def measure(
        self,
        source: GgufSource,
        options: Mapping[str, Iterable[str]],
        found: Sensitivity | None,
        advance: Callable[[int], None],
    ) -> dict[str, tuple[TypeChoice, ...]]:
        """Estimate errors after GPTQ's compensation; for other types, errors of ggml's rounding."""
        from galenic.compression.quantize.types.lattice import LATTICES

        if found is None:
            raise ValueError("GPTQ always looks at the model first")
        ours = {
            name: [kind for kind in kinds if kind in LATTICES]
            for name, kinds in options.items()
            if name in found.fitted
        }
        others = {
            name: [kind for kind in kinds if kind not in ours.get(name, ())]
            for name, kinds in options.items()
        }
        fitted = super().measure(source, ours, replace(found, columns=found.fitted), advance)
        rounded = super().measure(source, others, found, advance)
        return {name: (*fitted.get(name, ()), *rounded.get(name, ())) for name in options}

    def fit_outer(
        self,
        tensor: SourceTensor,
        kind: str,
        kept: KeptTensors,
        problem: Problem | None,
        weights: NDArray[np.float32] | None,
    ) -> None:
        """Quantize embedding or head, and store its bytes in ``kept``.

        Args:
            tensor: the tensor to quantize.
            kind: type to store it in; nothing is done for `DENSE_TYPES`.
            kept: receives the bytes.
            problem: data of the tensor's inputs; if given, GPTQ is used for types in `LATTICES`.
            weights: importance of the columns for ggml's rounding, used in all other cases.
        """
        import numpy as np
        import torch

        from galenic.compression.quantize.kquant import quantize_rows
        from galenic.compression.quantize.types.lattice import LATTICES
        from galenic.models.gguf.write import DENSE_TYPES

        if kind in DENSE_TYPES:
            return
        parts = []
        step = max(1, FITTED_VALUES // tensor.shape[-1])
        for start in range(0, tensor.shape[0], step):
            rows = tensor.read(start, min(start + step, tensor.shape[0]))
            rows = rows.reshape(-1, tensor.shape[-1])
            if problem is None or kind not in LATTICES:
                parts.append(quantize_rows(rows, kind, importance=weights))
                continue
            weight = torch.from_numpy(np.array(rows, np.float64))
            parts.append(self._fit(weight, problem, kind))
        kept.put_rows(tensor.name, np.concatenate(parts))

    def _fit_blocks(
        self, job: QuantizeJob, types: Mapping[str, str], kept: KeptTensors, advance: Any
    ) -> None:
        import torch

        from galenic.compression.blocks.statistics import Gram
        from galenic.compression.blocks.walk import walk
        from galenic.models.gguf.names import EMBEDDING
        from galenic.models.packing.products import rounded_products
        from galenic.models.stream import open_stream
        from galenic.runtimes.threads import choose_threads

        tokens = job.tokens
        torch.set_num_threads(choose_threads())
        stream = open_stream(job.checkpoint, num_tokens=tokens.numel())
        kept.fill_(stream.layout.model.get_input_embeddings().weight, EMBEDDING, types[EMBEDDING])
        job.watcher.stage(f"quantizing with {self.name}", total=len(stream.layout.blocks))
        rewrite_ = partial(self.quantize_block_, types=types, kept=kept)
        with rounded_products(stream.layout):
            walk(stream, tokens, Gram, rewrite_, advance)

    def quantize_block_(
        self,
        block: Block,
        inputs: Mapping[InputName, Any],
        *,
        types: Mapping[str, str],
        kept: KeptTensors,
    ) -> None:
        """Quantize a block's linear layers in place, and store their bytes in ``kept``.

        Args:
            block: the block, with float32 weights.
            inputs: Gram matrix of each input.
            types: type by GGUF tensor name; weights of `DENSE_TYPES` are not changed.
            kept: receives the bytes.
        """
        from galenic.models.gguf.write import DENSE_TYPES

        rows: dict[str, list[NDArray[np.uint8]]] = {}
        for name, statistic in inputs.items():
            linears = [
                (linear, types[kept.name(linear.name)])
                for role, linear in block.linears.items()
                if INPUT_OF[role] == name and types[kept.name(linear.name)] not in DENSE_TYPES
            ]
            for linear, made in self._round_(linears, statistic):
                rows.setdefault(linear.name, []).append(made)
        for module, parts in rows.items():
            kept.put(module, parts)

    def _round_(
        self, linears: Sequence[tuple[Linear, str]], statistic: Gram
    ) -> Iterator[tuple[Linear, NDArray[np.uint8]]]:
        """Quantize linear layers with the same input, each in its own type; yield their bytes."""
        import torch

        from galenic.compression.quantize.columns import read_problem
        from galenic.compression.quantize.kquant import decode_rows, quantize_rows
        from galenic.compression.quantize.types.lattice import LATTICES

        problem = None
        if any(kind in LATTICES for _, kind in linears):
            problem = read_problem(statistic, self.damping, act_order=self.act_order)
        for linear, kind in linears:
            if problem is not None and kind in LATTICES:
                made = self._fit(linear.weight.double(), problem, kind)
                linear.weight.copy_(torch.from_numpy(decode_rows(made, kind)))
                yield linear, made
                continue
            squares = statistic.total.diagonal().float().numpy() / statistic.num_tokens
            weights = squares if squares.max() > 0 else None
            made = quantize_rows(linear.weight.numpy(), kind, importance=weights)
            linear.weight.copy_(torch.from_numpy(decode_rows(made, kind)))
            yield linear, made

    def _fit(self, weight: Any, problem: Problem, kind: str) -> NDArray[np.uint8]:
        """Quantize a float64 weight by GPTQ in a type of `LATTICES`; return its bytes."""
        from galenic.compression.quantize.columns import one_thread, solve, solve_lattice
        from galenic.compression.quantize.kquant import quantize_rows
        from galenic.compression.quantize.types.grid import GRIDS
        from galenic.compression.quantize.types.lattice import unpack

        with one_thread():
            if kind in GRIDS:
                grid = GRIDS[kind]
                return solve(weight, problem, grid, self.group_size, self.block_size).encode()
            importance = problem.importance.float().numpy()
            rounded = quantize_rows(weight.float().numpy(), kind, importance=importance)
            lattice = unpack(rounded, kind)
            return solve_lattice(weight, problem, lattice, self.block_size).pack()


def is_inner(tensor: SourceTensor) -> bool:
    """Whether a tensor belongs to a block."""
    return tensor.name.startswith(INNER)
