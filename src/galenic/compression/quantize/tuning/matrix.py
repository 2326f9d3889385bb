"""A quantized matrix whose scales and codes can be trained, and written back in the same format.

A weight is ``d * units - dmin * shifts``, where ``units`` follow from codes and sub-scales. Trained
are factors on the float16 scales, rounded to float16 in the forward pass as in the file, and
optionally the level of each weight: rounded in the forward pass, with a straight-through gradient
(Bengio et al., https://arxiv.org/abs/1308.3432).

Memory holds the bytes of the file and a few numbers per block. Units are decoded by ggml when
needed, and codes are unpacked only while they are trained.
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
"""Maximum initial offset of a weight from its level towards its dense value, relative to the mean
spacing of levels."""
GRADIENT_VALUES = 1 << 21
"""Number of weights whose gradient is propagated to the scales at once."""


class TunedMatrix:
    """A quantized matrix with trainable scales and codes.

    Args:
        kind: name of its type.
        blocks: its bytes, shape (rows, bytes per row).
        order: for each row of the file, its row in transformers; None if the order is the same.

    Attributes:
        factor: trained factor on each block's scale.
        min_factor: trained factor on each block's minimum; None if the type has no minima.
        places: trained position of each weight among the levels, in steps; None unless codes are
            open (`open_codes_`).
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
        """Replace the matrix by the given bytes; factors are not changed."""
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
        """Mean distance between adjacent levels, in steps."""
        levels = self._levels()
        return float(levels[-1] - levels[0]) / (len(levels) - 1)

    def weight(self) -> Any:
        """Return the float32 weight, shape (rows, columns), rows in transformers' order."""
        found = self._rows(slice(None))
        return found if self.order is None else found[self.order]

    def take_gradient_(self, gradient: Any) -> None:
        """Backpropagate a gradient of `weight` to the factors, accumulating in their ``grad``.

        Works on a few rows at a time; must not be called while codes are open.
        """
        if self.order is not None:
            gradient = gradient[torch.argsort(self.order)]
        step = max(1, GRADIENT_VALUES // gradient.shape[1])
        for start in range(0, len(gradient), step):
            rows = slice(start, start + step)
            self._rows(rows).backward(gradient[rows])

    def _rows(self, rows: slice) -> Any:
        """Weights of some rows, in the order of the file."""
        scale = _as_stored(self.scale[rows] * self.factor[rows])
        units = self._units(rows) if self.places is None else self._rounded_units()
        found = (units.reshape(*scale.shape, -1) * scale[..., None]).reshape(len(scale), -1)
        return found if self.minimum is None else found + self._shift(rows, found.shape[1])

    def open_codes_(self, dense: Any) -> bool:
        """Make codes trainable, starting between the stored level and the dense weight.

        Args:
            dense: dense weight, rows in transformers' order.

        Returns:
            Whether the type has trainable codes.
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
        """Store the trained codes and scales if ``keep``, or discard them; resets the factors."""
        if keep:
            self.store_()
        self.places = self._lattice = None
        for factor in (self.factor, self.min_factor):
            if factor is not None:
                factor.data.fill_(1)
                factor.grad = None

    def store_(self) -> None:
        """Encode the trained scales and codes into ``blocks``."""
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
        """Decode some rows with every scale set to 1 and every minimum to 0."""
        bare = self.blocks[rows]
        ones = np.ones((len(bare), self.scale.shape[1]), np.float32)
        nothing = None if self.minimum is None else np.zeros_like(ones)
        return torch.from_numpy(decode_rows(with_scales(bare, self.kind, ones, nothing), self.kind))

    def _rounded_units(self) -> Any:
        """Units of the levels nearest to ``places``, with a straight-through gradient."""
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
    """Round to float16, with a straight-through gradient."""
    return scale + (scale.half().float() - scale).detach()


def _scale(blocks: NDArray[Any], kind: str) -> NDArray[np.float32]:
    """Scale ``d`` of each block of an IQ2 or IQ3 type, whose blocks begin with it."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1]
    stored = np.ascontiguousarray(blocks).reshape(len(blocks), -1, size)[..., :2]
    return np.ascontiguousarray(stored).view("<f2").astype(np.float32)[..., 0]
