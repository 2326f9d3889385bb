"""Which blocks can be removed so that llama.cpp still supports the order of windowed layers.

llama.cpp supports one periodic pattern: of every ``period`` layers, the last attends to the whole
text and the others to a sliding window (SmolLM3: the last has no rotary positions). Layers cannot
change their kind, because each kind has its own rotary angles.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["can_leave", "is_even"]


def is_even(windows: Sequence[bool], fixed: int = 0) -> bool:
    """Whether the layers (True: windowed) form a periodic pattern, of period ``fixed`` if given."""
    if fixed:
        return list(windows) == _pattern(len(windows), fixed)
    if not any(windows) or all(windows):
        return True
    period = windows.index(False) + 1
    return list(windows) == _pattern(len(windows), period)


def can_leave(
    windows: Sequence[bool],
    kept: int,
    removed: Collection[int],
    protected: Collection[int],
    fixed: int = 0,
) -> bool:
    """Whether ``kept`` layers can be chosen such that they form a periodic pattern.

    Args:
        windows: for each layer of the whole model, whether it has a window.
        kept: number of layers to keep.
        removed: layers that must be removed.
        protected: layers that must be kept.
        fixed: the only period that llama.cpp supports; 0 for any.
    """
    if fixed:
        return _fits(windows, _pattern(kept, fixed), removed, protected)
    patterns = [_pattern(kept, period) for period in range(2, kept + 2)]
    patterns += [[False] * kept]  # no layers with a window
    return any(_fits(windows, pattern, removed, protected) for pattern in patterns)


def _pattern(length: int, period: int) -> list[bool]:
    return [index % period < period - 1 for index in range(length)]


def _fits(
    windows: Sequence[bool],
    pattern: Sequence[bool],
    removed: Collection[int],
    protected: Collection[int],
) -> bool:
    """Whether the layers to keep can be chosen so that they match the pattern."""
    reached = {0}  # lengths of the prefixes of the pattern that the layers so far can match
    for index, window in enumerate(windows):
        skipped = set() if index in protected else reached
        taken = {
            done + 1
            for done in reached
            if index not in removed and done < len(pattern) and pattern[done] == window
        }
        reached = skipped | taken
    return len(pattern) in reached
