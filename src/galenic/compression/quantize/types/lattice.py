"""Lossless unpacking and packing of quantized matrices into codes and scales.

Every type here stores a weight as ``d * sub * level(code) - dmin * submin`` (``+ dmin`` for types
without sub-scales): a code of two to eight bits, float16 scales per block of 32 or 256 weights, and
in k-quants and IQ4_XS small integer sub-scales per group of 16 or 32. Codes can be replaced while
the scales are kept (GPTQ, tuning), and packed again in the same format.

Format: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from galenic.compression.quantize.types.grid import GRIDS

__all__ = ["LATTICES", "Lattice", "unpack", "with_scales"]

Bytes: TypeAlias = NDArray[Any]  # uint8
Ints: TypeAlias = NDArray[Any]  # int16


@dataclass
class Lattice:
    """A quantized matrix as codes and scales.

    Attributes:
        type: name of the type in ggml.
        codes: codes as stored in the file, from 0 up (Q8_0: from -127), shape (rows, columns).
        scale: ``d`` of each block, float32 exact in float16, shape (rows, blocks).
        minimum: ``dmin`` of each block, likewise; None if the type has none.
        sub: integer factors on the scale, shape (rows, groups); None means 1.
        submin: integer factors on the minimum, likewise.
    """

    type: str
    codes: Ints
    scale: NDArray[np.float32]
    minimum: NDArray[np.float32] | None = None
    sub: Ints | None = None
    submin: Ints | None = None

    @property
    def levels(self) -> NDArray[np.float32]:
        """Level of each code in steps, in the order of the codes."""
        return LATTICES[self.type].levels

    @property
    def lowest(self) -> int:
        """The smallest code."""
        return -127 if self.type == "Q8_0" else 0

    def steps(self) -> NDArray[np.float32]:
        """Step size of each group, shape (rows, groups); may be negative or 0."""
        if self.sub is None:
            return self.scale
        return _spread(self.scale, self.sub.shape[1]) * self.sub.astype(np.float32)

    def offsets(self) -> NDArray[np.float32]:
        """Offset added to the weights of each group, shape (rows, groups)."""
        if self.minimum is None:
            return np.zeros_like(self.steps())
        if self.submin is None:
            return self.minimum
        return -_spread(self.minimum, self.submin.shape[1]) * self.submin.astype(np.float32)

    def values(self) -> NDArray[np.float32]:
        """Dequantized values, shape (rows, columns); for types with a minimum, ggml's result may
        differ in the last digit."""
        levels = self.levels[self.codes - self.lowest]
        groups = levels.reshape(len(levels), self.steps().shape[1], -1)
        found = groups * self.steps()[..., None] + self.offsets()[..., None]
        values: NDArray[np.float32] = found.astype(np.float32).reshape(levels.shape)
        return values

    def pack(self) -> Bytes:
        """Encode in ggml's format; returns bytes of shape (rows, bytes per row)."""
        kind = LATTICES[self.type]
        rows = len(self.codes)
        codes = self.codes.reshape(rows, -1, kind.block)
        parts = kind.pack(codes, *(self._numbers(name, codes.shape[1]) for name in _NUMBERS))
        halves = [self.scale] if self.minimum is None else [self.scale, self.minimum]
        stored = [half.astype("<f2")[..., None].view(np.uint8) for half in halves]
        joined = [*parts, *stored] if kind.last else [*stored, *parts]
        return np.concatenate(joined, axis=-1).reshape(rows, -1)

    def _numbers(self, name: str, blocks: int) -> Ints:
        found = getattr(self, name)
        return np.zeros(0, np.int16) if found is None else found.reshape(len(found), blocks, -1)


@dataclass(frozen=True)
class _Kind:
    """Layout of a type: ``unpack`` splits blocks without their float16 scales into codes, sub and
    submin; ``pack`` is the inverse."""

    block: int
    levels: NDArray[np.float32]
    unpack: Callable[[Bytes], tuple[Ints, Ints | None, Ints | None]]
    pack: Callable[[Ints, Ints, Ints], list[Bytes]]
    minimum: bool = False
    last: bool = False
    """Whether the float16 scales are the last bytes of a block."""


_NUMBERS = ("sub", "submin")


def unpack(blocks: Bytes, type_name: str) -> Lattice:
    """Split an encoded matrix into codes and scales.

    Args:
        blocks: from `galenic.compression.quantize.kquant.quantize_rows`, (rows, bytes per row).
        type_name: one of `LATTICES`.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    kind = LATTICES[type_name]
    rows = len(blocks)
    size = GGML_QUANT_SIZES[GGMLQuantizationType[type_name]][1]
    parts = np.ascontiguousarray(blocks).reshape(rows, -1, size)
    halves = 4 if kind.minimum else 2
    inner, scales = parts[..., halves:], parts[..., :halves]
    if kind.last:
        inner, scales = parts[..., :-halves], parts[..., -halves:]
    numbers = np.ascontiguousarray(scales).view("<f2").astype(np.float32)
    codes, sub, submin = kind.unpack(inner)
    return Lattice(
        type_name,
        codes.reshape(rows, -1),
        numbers[..., 0],
        numbers[..., 1] if kind.minimum else None,
        None if sub is None else sub.reshape(rows, -1),
        None if submin is None else submin.reshape(rows, -1),
    )


def with_scales(
    blocks: Bytes,
    type_name: str,
    scale: NDArray[np.float32],
    minimum: NDArray[np.float32] | None = None,
) -> Bytes:
    """Return a copy of the blocks with new float16 scales, and minima if the type has them.

    Args:
        blocks: shape (rows, bytes per row).
        type_name: any block type; blocks of types not in `LATTICES` begin with their only scale.
        scale: ``d`` of each block, shape (rows, blocks).
        minimum: ``dmin`` of each block, likewise.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    kind = LATTICES.get(type_name)
    size = GGML_QUANT_SIZES[GGMLQuantizationType[type_name]][1]
    changed = np.array(blocks).reshape(len(blocks), -1, size)
    halves = [scale] if minimum is None else [scale, minimum]
    stored = np.stack([half.astype("<f2") for half in halves], axis=-1).view(np.uint8)
    if kind is not None and kind.last:
        changed[..., -stored.shape[-1] :] = stored
    else:
        changed[..., : stored.shape[-1]] = stored
    return changed.reshape(len(blocks), -1)


def _spread(numbers: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """Repeat each block's value for all of its groups; returns shape (rows, groups)."""
    return np.repeat(numbers, groups // numbers.shape[1], axis=1)


def _joined(*parts: Bytes) -> Ints:
    return np.concatenate(parts, axis=-1).astype(np.int16)


def _byte(numbers: NDArray[Any]) -> Bytes:
    return (numbers & 255).astype(np.uint8)


# blocks of 32: half of the codes in low, half in high nibbles


def _plain(bits: int) -> _Kind:
    name = next(n for n, g in GRIDS.items() if g.bits == bits and not g.shifted and not g.codes)
    return _small(bits, np.arange(GRIDS[name].lowest, GRIDS[name].highest + 1), minimum=False)


def _small(bits: int, levels: Any, *, minimum: bool) -> _Kind:
    def take(inner: Bytes) -> tuple[Ints, None, None]:
        if bits == 8:
            return inner.view(np.int8).astype(np.int16), None, None
        low = inner[..., -16:]
        codes = _joined(low & 15, low >> 4)
        if bits == 5:
            codes |= np.unpackbits(inner[..., :4], axis=-1, bitorder="little").astype(np.int16) << 4
        return codes, None, None

    def give(codes: Ints, _sub: Ints, _submin: Ints) -> list[Bytes]:
        if bits == 8:
            return [_byte(codes)]
        low = _byte(codes & 15)
        high = [np.packbits(_byte(codes >> 4), axis=-1, bitorder="little")] if bits == 5 else []
        return [*high, low[..., :16] | low[..., 16:] << 4]

    return _Kind(32, np.asarray(levels, np.float32), take, give, minimum)


# blocks of 256: 4-bit codes are packed in runs of 64, 2-bit codes in runs of 128


def _nibbles(inner: Bytes, width: int) -> Ints:
    """Unpack 4-bit codes: of every ``width`` bytes first the low nibbles, then the high ones."""
    parts = inner.reshape(*inner.shape[:-1], -1, width)
    return _joined(parts & 15, parts >> 4).reshape(*inner.shape[:-1], -1)


def _to_nibbles(codes: Ints, width: int) -> Bytes:
    parts = _byte(codes).reshape(*codes.shape[:-1], -1, 2, width)
    found: Bytes = parts[..., 0, :] | parts[..., 1, :] << 4
    return found.reshape(*codes.shape[:-1], -1)


def _pairs(inner: Bytes) -> Ints:
    """Unpack 2-bit codes: of every 32 bytes first the lowest two bits, then the next two, etc."""
    parts = inner.reshape(*inner.shape[:-1], -1, 1, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    return (parts >> shifts & 3).astype(np.int16).reshape(*inner.shape[:-1], -1)


def _to_pairs(codes: Ints) -> Bytes:
    parts = _byte(codes).reshape(*codes.shape[:-1], -1, 4, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    found: Bytes = np.bitwise_or.reduce(parts << shifts, axis=-2)
    return found.reshape(*codes.shape[:-1], -1)


def _bits(inner: Bytes) -> Ints:
    """Unpack 1-bit codes: of 32 bytes first all lowest bits, then all next ones, etc."""
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    found = (inner[..., None, :] >> shifts & 1).astype(np.int16)
    return found.reshape(*inner.shape[:-1], -1)


def _to_bits(codes: Ints) -> Bytes:
    parts = _byte(codes).reshape(*codes.shape[:-1], 8, 32)
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    found: Bytes = np.bitwise_or.reduce(parts << shifts, axis=-2)
    return found


def _q2(inner: Bytes) -> tuple[Ints, Ints, Ints]:
    numbers = inner[..., :16].astype(np.int16)
    return _pairs(inner[..., 16:]), numbers & 15, numbers >> 4


def _to_q2(codes: Ints, sub: Ints, submin: Ints) -> list[Bytes]:
    return [_byte(sub | submin << 4), _to_pairs(codes)]


def _q3(inner: Bytes) -> tuple[Ints, Ints, None]:
    high, low, packed = inner[..., :32], inner[..., 32:96], inner[..., 96:]
    lows = _joined(packed[..., :8] & 15, packed[..., :8] >> 4)
    highs = np.concatenate([packed[..., 8:] >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    sub = (lows | highs.astype(np.int16) << 4) - 32
    return _pairs(low) | _bits(high) << 2, sub, None


def _to_q3(codes: Ints, sub: Ints, _submin: Ints) -> list[Bytes]:
    stored = _byte(sub + 32)
    lows = stored[..., :8] & 15 | (stored[..., 8:] & 15) << 4
    quarters = (stored >> 4).reshape(*stored.shape[:-1], 4, 4)
    highs = np.bitwise_or.reduce(quarters << np.arange(0, 8, 2, dtype=np.uint8)[:, None], axis=-2)
    return [_to_bits(codes >> 2), _to_pairs(codes & 3), lows, highs]


def _six_bits(packed: Bytes) -> tuple[Ints, Ints]:
    """Unpack eight 6-bit sub-scales and eight 6-bit sub-minima from 12 bytes."""
    first, second, third = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    sub = _joined(first & 63, third & 15 | first >> 6 << 4)
    return sub, _joined(second & 63, third >> 4 | second >> 6 << 4)


def _to_six_bits(sub: Ints, submin: Ints) -> Bytes:
    one, two = _byte(sub), _byte(submin)
    first = one[..., :4] | one[..., 4:] >> 4 << 6
    second = two[..., :4] | two[..., 4:] >> 4 << 6
    third = one[..., 4:] & 15 | (two[..., 4:] & 15) << 4
    return np.concatenate([first, second, third], axis=-1)


def _q4(inner: Bytes) -> tuple[Ints, Ints, Ints]:
    return _nibbles(inner[..., 12:], 32), *_six_bits(inner[..., :12])


def _to_q4(codes: Ints, sub: Ints, submin: Ints) -> list[Bytes]:
    return [_to_six_bits(sub, submin), _to_nibbles(codes, 32)]


def _q5(inner: Bytes) -> tuple[Ints, Ints, Ints]:
    codes = _nibbles(inner[..., 44:], 32) | _bits(inner[..., 12:44]) << 4
    return codes, *_six_bits(inner[..., :12])


def _to_q5(codes: Ints, sub: Ints, submin: Ints) -> list[Bytes]:
    return [_to_six_bits(sub, submin), _to_bits(codes >> 4), _to_nibbles(codes & 15, 32)]


def _q6(inner: Bytes) -> tuple[Ints, Ints, None]:
    low, high, sub = inner[..., :128], inner[..., 128:192], inner[..., 192:]
    codes = _nibbles(low, 64) | _pairs(high) << 4
    return codes, np.ascontiguousarray(sub).view(np.int8).astype(np.int16), None


def _to_q6(codes: Ints, sub: Ints, _submin: Ints) -> list[Bytes]:
    return [_to_nibbles(codes & 15, 64), _to_pairs(codes >> 4), _byte(sub)]


def _iq4(inner: Bytes) -> tuple[Ints, Ints, None]:
    shifts = np.arange(0, 16, 2, dtype=np.uint16)
    high = np.ascontiguousarray(inner[..., :2]).view("<u2") >> shifts & 3
    low = inner[..., 2:6]
    lows = np.stack([low & 15, low >> 4], axis=-1).reshape(high.shape)
    sub = (lows.astype(np.int16) | high.astype(np.int16) << 4) - 32
    return _nibbles(inner[..., 6:], 16), sub, None


def _to_iq4(codes: Ints, sub: Ints, _submin: Ints) -> list[Bytes]:
    stored = (sub + 32).astype(np.uint16)
    shifted = stored >> 4 << np.arange(0, 16, 2, dtype=np.uint16)
    high = np.bitwise_or.reduce(shifted, axis=-1)[..., None].astype("<u2").view(np.uint8)
    low = _byte(stored & 15)
    return [high, low[..., ::2] | low[..., 1::2] << 4, _to_nibbles(codes, 16)]


_UNEVEN = GRIDS["IQ4_NL"].codes

LATTICES: dict[str, _Kind] = {
    "Q2_K": _Kind(256, np.arange(4, dtype=np.float32), _q2, _to_q2, minimum=True, last=True),
    "Q3_K": _Kind(256, np.arange(-4, 4, dtype=np.float32), _q3, _to_q3, last=True),
    "IQ4_XS": _Kind(256, np.asarray(_UNEVEN, np.float32), _iq4, _to_iq4),
    "IQ4_NL": _small(4, _UNEVEN, minimum=False),
    "Q4_0": _plain(4),
    "Q4_1": _small(4, np.arange(16), minimum=True),
    "Q4_K": _Kind(256, np.arange(16, dtype=np.float32), _q4, _to_q4, minimum=True),
    "Q5_0": _plain(5),
    "Q5_1": _small(5, np.arange(32), minimum=True),
    "Q5_K": _Kind(256, np.arange(32, dtype=np.float32), _q5, _to_q5, minimum=True),
    "Q6_K": _Kind(256, np.arange(-32, 32, dtype=np.float32), _q6, _to_q6, last=True),
    "Q8_0": _plain(8),
}
"""Layouts by type name, from small to large."""
