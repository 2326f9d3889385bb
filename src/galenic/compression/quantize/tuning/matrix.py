"""A stored matrix whose scales and codes can be trained, and which goes back into its own bytes.

A weight is ``d * units - dmin * shifts``. ``units`` follow from codes and sub-scales. What is
trained are factors of the float16 scales, rounded to float16 in the forward pass as the file will
hold them, and, where asked for, which level each weight takes: rounded in the forward pass,
the gradient passing straight through (Bengio et al., https://arxiv.org/abs/1308.3432).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.compression.quantize.kquant import decode_rows
from galenic.compression.quantize.lattice import LATTICES, Lattice, unpack

__all__ = ["TunedMatrix"]

LEAN = 0.4
"""How far, in steps, a weight starts from its level at most, towards its dense value."""


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
        self.blocks = blocks
        self.lattice = unpack(blocks, kind) if kind in LATTICES else None
        self.order = None if order is None else torch.from_numpy(np.argsort(order))
        self.scale = torch.from_numpy(_scale(blocks, kind, self.lattice))
        self.units = torch.from_numpy(_units(blocks, kind, self.lattice)).half()
        self.factor = torch.nn.Parameter(torch.ones_like(self.scale))
        self.minimum: Any = None
        self.min_factor: Any = None
        if self.lattice is not None and self.lattice.minimum is not None:
            self.minimum = torch.from_numpy(self.lattice.minimum)
            self.min_factor = torch.nn.Parameter(torch.ones_like(self.minimum))
        self.places: Any = None

    @property
    def spacing(self) -> float:
        """Mean distance of two levels in steps."""
        levels = self._levels()
        return float(levels[-1] - levels[0]) / (len(levels) - 1)

    def weight(self) -> Any:
        """Float32, shape (rows, columns), rows in the order of transformers."""
        rows, blocks = self.scale.shape
        scale = _as_stored(self.scale * self.factor)
        units = self.units.float() if self.places is None else self._rounded_units()
        found = (units.reshape(rows, blocks, -1) * scale[..., None]).reshape(rows, -1)
        if self.minimum is not None:
            found = found + self._shift(found.shape[1])
        return found if self.order is None else found[self.order]

    def open_codes_(self, dense: Any) -> bool:
        """Let codes be trained, from where the dense weights lie, rows in transformers' order.

        Returns:
            Whether the type has codes that can be.
        """
        if self.lattice is None:
            return False
        if self.order is not None:  # back to the order of the file
            dense = dense[torch.argsort(self.order)]
        steps, offsets = (torch.from_numpy(x) for x in (self._steps(), self.lattice.offsets()))
        wide = dense.float().reshape(*steps.shape, -1) - offsets[..., None]
        wanted = (wide / steps.masked_fill(steps == 0, 1)[..., None]).reshape(dense.shape)
        index = torch.from_numpy(self.lattice.codes.astype(np.int64) - self.lattice.lowest)
        held = self._levels()[index]
        reach = LEAN * self.spacing
        self.places = torch.nn.Parameter(held + (wanted - held).clamp(-reach, reach))
        return True

    def close_codes_(self, *, keep: bool) -> None:
        """Put the trained codes and scales into the bytes, or forget them."""
        if keep:
            self.store_()
        self.places = None
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
        self.lattice = unpack(self.blocks, self.kind) if self.lattice is not None else None
        self.scale, self.minimum = scale, minimum
        if self.places is not None:
            self.units = torch.from_numpy(_units(self.blocks, self.kind, self.lattice)).half()

    def _packed(self, scale: Any, minimum: Any) -> NDArray[np.uint8]:
        if self.lattice is None:
            return _with_scale(self.blocks, self.kind, scale.numpy())
        changed = replace(self.lattice, scale=scale.numpy())
        if minimum is not None:
            changed.minimum = minimum.numpy()
        if self.places is not None:
            index = torch.bucketize(self.places.data, self._middles())
            changed.codes = (index.numpy() + self.lattice.lowest).astype(np.int16)
        return changed.pack()

    def _levels(self) -> Any:
        if self.lattice is None:
            raise ValueError(f"{self.kind} has no levels")
        return torch.from_numpy(self.lattice.levels)

    def _middles(self) -> Any:
        levels = self._levels()
        return (levels[1:] + levels[:-1]) / 2

    def _steps(self) -> NDArray[np.float32]:
        if self.lattice is None:
            raise ValueError(f"{self.kind} has no steps")
        return self.lattice.steps()

    def _rounded_units(self) -> Any:
        """Units of the levels that are nearest to the places."""
        levels = self._levels()
        nearest = levels[torch.bucketize(self.places.detach(), self._middles())]
        passed = self.places.clamp(float(levels[0]), float(levels[-1]))
        found = passed + (nearest - passed).detach()
        sub = None if self.lattice is None else self.lattice.sub
        if sub is None:
            return found
        wide = found.reshape(*sub.shape, -1) * torch.from_numpy(sub).float()[..., None]
        return wide.reshape(found.shape)

    def _shift(self, columns: int) -> Any:
        minimum = _as_stored(self.minimum * self.min_factor)
        sub = None if self.lattice is None else self.lattice.submin
        if sub is None:
            return minimum.repeat_interleave(columns // minimum.shape[1], 1)
        spread = minimum.repeat_interleave(sub.shape[1] // minimum.shape[1], 1)
        shifts = -spread * torch.from_numpy(sub).float()
        return shifts.repeat_interleave(columns // sub.shape[1], 1)


def _as_stored(scale: Any) -> Any:
    """Rounded to float16, the gradient passing straight through."""
    return scale + (scale.half().float() - scale).detach()


def _scale(blocks: NDArray[Any], kind: str, lattice: Lattice | None) -> NDArray[np.float32]:
    if lattice is not None:
        return lattice.scale
    stored = _by_block(blocks, kind)[..., :2]  # every IQ2 and IQ3 type begins with it
    return np.ascontiguousarray(stored).view("<f2").astype(np.float32)[..., 0]


def _units(blocks: NDArray[Any], kind: str, lattice: Lattice | None) -> NDArray[np.float32]:
    """The weights where every scale is 1, without minima."""
    if lattice is None:
        ones = np.ones(_by_block(blocks, kind).shape[:2], np.float32)
        return decode_rows(_with_scale(blocks, kind, ones), kind)
    alone = replace(lattice, scale=np.ones_like(lattice.scale), minimum=None)
    return alone.values()


def _with_scale(blocks: NDArray[Any], kind: str, scale: NDArray[np.float32]) -> NDArray[np.uint8]:
    changed = _by_block(blocks, kind).copy()
    changed[..., :2] = scale.astype("<f2")[..., None].view(np.uint8)
    return changed.reshape(len(blocks), -1)


def _by_block(blocks: NDArray[Any], kind: str) -> NDArray[Any]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1]
    return np.ascontiguousarray(blocks).reshape(len(blocks), -1, size)
