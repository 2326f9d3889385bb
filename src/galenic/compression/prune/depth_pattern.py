"""Which blocks may go so that layers with a sliding window still stand as llama.cpp needs them.

llama.cpp knows one distance: of every ``period`` layers the last sees the whole text, the others a
window; of SmolLM3, has no rotary positions. Layers cannot change sides, for each side has rotary
angles of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["can_leave", "is_even"]


def is_even(windows: Sequence[bool], fixed: int = 0) -> bool:
    """Whether the layers (True: with a window) stand at equal distances, or at ``fixed``."""
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
    """Whether some choice of so many layers stands at equal distances.

    Args:
        windows: of each layer of the whole model, whether it has a window.
        kept: how many layers stay.
        removed: layers that are gone in any case.
        protected: layers that stay in any case.
        fixed: the only distance that llama.cpp knows; 0 for any.
    """
    if fixed:
        return _fits(windows, _pattern(kept, fixed), removed, protected)
    patterns = [_pattern(kept, period) for period in range(2, kept + 2)]
    patterns += [[False] * kept]  # no window left, or none in the model
    return any(_fits(windows, pattern, removed, protected) for pattern in patterns)


def _pattern(length: int, period: int) -> list[bool]:
    return [index % period < period - 1 for index in range(length)]


def _fits(
    windows: Sequence[bool],
    pattern: Sequence[bool],
    removed: Collection[int],
    protected: Collection[int],
) -> bool:
    """Whether the layers that stay can be chosen to be that pattern."""
    reached = {0}  # lengths of the pattern that the layers so far can fill
    for index, window in enumerate(windows):
        skipped = set() if index in protected else reached
        taken = {
            done + 1
            for done in reached
            if index not in removed and done < len(pattern) and pattern[done] == window
        }
        reached = skipped | taken
    return len(pattern) in reached
