"""A stored matrix whose scales and codes can be trained, and which goes back into its own bytes.

A weight is ``d * units - dmin * shifts``. ``units`` follow from codes and sub-scales. What is
trained are factors of the float16 scales, rounded to float16 in the forward pass as the file will
hold them, and, where asked for, which level each weight takes: rounded in the forward pass,
the gradient passing straight through (Bengio et al., https://arxiv.org/abs/1308.3432).

In memory are the bytes of the file and numbers for each block; units are decoded by ggml where they
are needed, and codes of a matrix are taken apart only while they are trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.compression.quantize.kquant import decode_rows
from galenic.compression.quantize.types.lattice import LATTICES, Lattice, unpack, with_scales

__all__ = ["TunedMatrix"]

LEAN = 0.4
"""How far, in steps, a weight starts from its level at most, towards its dense value."""
GRADIENT_VALUES = 1 << 21
"""Weights whose gradient is passed to the scales at once."""


class TunedMatrix:
    """One matrix of the file.

    Args:
        kind: its type.
        blocks: its bytes, shape (rows, bytes of a row).
        order: the transformers row that each row of the file is; None: the same.

    Attributes:
        factor: of each block's scale; trained.
        min_factor: of each block's minimum, likewise; None without.
        places: where each weight lies among the levels, in steps; None until `open_codes_`.
    """

    def __init__(
        self, kind: str, blocks: NDArray[np.uint8], order: NDArray[np.intp] | None
    ) -> None:
        self.kind = kind
        self.order = None if order is None else torch.from_numpy(np.argsort(order))
        self.places: Any = None
        self._lattice: Lattice | None = None
        self.put_(blocks)
        self.factor = torch.nn.Parameter(torch.ones_like(self.scale))
        self.min_factor: Any = None
        if self.minimum is not None:
            self.min_factor = torch.nn.Parameter(torch.ones_like(self.minimum))

    def put_(self, blocks: NDArray[np.uint8]) -> None:
        """Let it be what these bytes say; factors stay as they are."""
        self.blocks = blocks
        self.minimum: Any = None
        self._submin: Any = None
        if self.kind in LATTICES:
            lattice = unpack(blocks, self.kind)
            self.scale = torch.from_numpy(lattice.scale.copy())
            if lattice.minimum is not None:
                self.minimum = torch.from_numpy(lattice.minimum.copy())
            if lattice.submin is not None:
                self._submin = torch.from_numpy(lattice.submin)
        else:
            self.scale = torch.from_numpy(_scale(blocks, self.kind))

    @property
    def spacing(self) -> float:
        """Mean distance of two levels in steps."""
        levels = self._levels()
        return float(levels[-1] - levels[0]) / (len(levels) - 1)

    def weight(self) -> Any:
        """Float32, shape (rows, columns), rows in the order of transformers."""
        found = self._rows(slice(None))
        return found if self.order is None else found[self.order]

    def take_gradient_(self, gradient: Any) -> None:
        """Add to the gradients of the factors what a gradient of `weight` means for them.

        A few rows at a time; codes are not trained meanwhile.
        """
        if self.order is not None:
            gradient = gradient[torch.argsort(self.order)]
        step = max(1, GRADIENT_VALUES // gradient.shape[1])
        for start in range(0, len(gradient), step):
            rows = slice(start, start + step)
            self._rows(rows).backward(gradient[rows])

    def _rows(self, rows: slice) -> Any:
        """Some rows of the file."""
        scale = _as_stored(self.scale[rows] * self.factor[rows])
        units = self._units(rows) if self.places is None else self._rounded_units()
        found = (units.reshape(*scale.shape, -1) * scale[..., None]).reshape(len(scale), -1)
        return found if self.minimum is None else found + self._shift(rows, found.shape[1])

    def open_codes_(self, dense: Any) -> bool:
        """Let codes be trained, from where the dense weights lie, rows in transformers' order.

        Returns:
            Whether the type has codes that can be.
        """
        if self.kind not in LATTICES:
            return False
        if self.order is not None:  # back to the order of the file
            dense = dense[torch.argsort(self.order)]
        lattice = self._lattice = unpack(self.blocks, self.kind)
        steps, offsets = (torch.from_numpy(x) for x in (lattice.steps(), lattice.offsets()))
        wide = dense.float().reshape(*steps.shape, -1) - offsets[..., None]
        wanted = (wide / steps.masked_fill(steps == 0, 1)[..., None]).reshape(dense.shape)
        index = torch.from_numpy(lattice.codes.astype(np.int64) - lattice.lowest)
        held = self._levels()[index]
        reach = LEAN * self.spacing
        self.places = torch.nn.Parameter(held + (wanted - held).clamp(-reach, reach))
        return True

    def close_codes_(self, *, keep: bool) -> None:
        """Put the trained codes and scales into the bytes, or forget them."""
        if keep:
            self.store_()
        self.places = self._lattice = None
        for factor in (self.factor, self.min_factor):
            if factor is not None:
                factor.data.fill_(1)
                factor.grad = None

    def store_(self) -> None:
        """Put what was trained into the bytes."""
        with torch.no_grad():
            scale = _as_stored(self.scale * self.factor)
            minimum = None
            if self.minimum is not None:
                minimum = _as_stored(self.minimum * self.min_factor)
            self.blocks = self._packed(scale, minimum)
        self.scale, self.minimum = scale, minimum

    def _packed(self, scale: Any, minimum: Any) -> NDArray[np.uint8]:
        held = None if minimum is None else minimum.numpy()
        if self.places is None:
            return with_scales(self.blocks, self.kind, scale.numpy(), held)
        lattice = self._opened()
        index = torch.bucketize(self.places.data, self._middles())
        codes = (index.numpy() + lattice.lowest).astype(np.int16)
        return replace(lattice, scale=scale.numpy(), minimum=held, codes=codes).pack()

    def _opened(self) -> Lattice:
        if self._lattice is None:
            raise ValueError("its codes are not open")
        return self._lattice

    def _levels(self) -> Any:
        if self.kind not in LATTICES:
            raise ValueError(f"{self.kind} has no levels")
        return torch.from_numpy(LATTICES[self.kind].levels)

    def _middles(self) -> Any:
        levels = self._levels()
        return (levels[1:] + levels[:-1]) / 2

    def _units(self, rows: slice) -> Any:
        """Some rows where every scale is 1 and every minimum 0."""
        bare = self.blocks[rows]
        ones = np.ones((len(bare), self.scale.shape[1]), np.float32)
        nothing = None if self.minimum is None else np.zeros_like(ones)
        return torch.from_numpy(decode_rows(with_scales(bare, self.kind, ones, nothing), self.kind))

    def _rounded_units(self) -> Any:
        """Units of the levels that are nearest to the places."""
        levels, sub = self._levels(), self._opened().sub
        nearest = levels[torch.bucketize(self.places.detach(), self._middles())]
        passed = self.places.clamp(float(levels[0]), float(levels[-1]))
        found = passed + (nearest - passed).detach()
        if sub is None:
            return found
        wide = found.reshape(*sub.shape, -1) * torch.from_numpy(sub).float()[..., None]
        return wide.reshape(found.shape)

    def _shift(self, rows: slice, columns: int) -> Any:
        minimum = _as_stored(self.minimum[rows] * self.min_factor[rows])
        if self._submin is None:
            return minimum.repeat_interleave(columns // minimum.shape[1], 1)
        submin = self._submin[rows]
        spread = minimum.repeat_interleave(submin.shape[1] // minimum.shape[1], 1)
        return (-spread * submin.float()).repeat_interleave(columns // submin.shape[1], 1)


def _as_stored(scale: Any) -> Any:
    """Rounded to float16, the gradient passing straight through."""
    return scale + (scale.half().float() - scale).detach()


def _scale(blocks: NDArray[Any], kind: str) -> NDArray[np.float32]:
    """``d`` of a type without levels of its own: IQ2 and IQ3 begin with it."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1]
    stored = np.ascontiguousarray(blocks).reshape(len(blocks), -1, size)[..., :2]
    return np.ascontiguousarray(stored).view("<f2").astype(np.float32)[..., 0]
