"""Check regular expressions from untrusted files for catastrophic backtracking."""

from __future__ import annotations

import importlib
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from itertools import pairwise, takewhile
from typing import Any

from galenic.errors import UserError
from galenic.limits import one_line

__all__ = ["check_pattern", "check_patterns"]

LONGEST = 2000
MOST_BITS = 15.0
"""Upper limit on log2 of the number of ways in which a pattern may try to match a module name."""
REPEAT_BITS = 3.5
"""Bits of an open repetition such as ``.*``: measured, each further one takes 11 times as long on a
name of sixty characters."""
MOST_PATTERNS = 1000
"""Maximum number of patterns of an adapter, each of which is tried on every module's name."""
NAMES = ("target_modules", "exclude_modules")
"""Settings that hold plain names if they are lists; in others, peft takes these as patterns."""
_parser: Any = importlib.import_module("re._parser")


class _Slow(Exception):  # noqa: N818
    """Raised for a repetition of something that can itself match in several ways."""


def check_patterns(config: Mapping[str, Any], where: str) -> None:
    """Check every regular expression by which an adapter's configuration selects modules.

    Raises:
        UserError: as `check_pattern`.
    """
    number = 0
    for key, given in config.items():
        if not ("pattern" in key or "modules" in key):
            continue
        names = isinstance(given, list) and key in NAMES
        found = [given] if isinstance(given, str) else given
        for pattern in found if isinstance(found, list | dict) and not names else ():
            number += 1
            check_pattern(str(pattern), where)
    if number > MOST_PATTERNS:
        raise UserError(f"{where} has {number:,} patterns; it may have {MOST_PATTERNS:,}.")


def check_pattern(pattern: str, where: str) -> None:
    """Check that a pattern is valid and matches any short text in little time.

    Refused are patterns that can match in more ways than `MOST_BITS` says, and repetitions of
    something that varies itself, because matching may take exponential time.

    Args:
        pattern: a regular expression.
        where: origin of the pattern, for error messages.

    Raises:
        UserError: the pattern is invalid or may be slow.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
            slow = len(pattern) > LONGEST or _bits(_parser.parse(pattern)) > MOST_BITS
    except _Slow:
        slow = True
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"{where}: its pattern is not a regular expression: {one_line(str(error))}."
        ) from error
    if slow:
        raise UserError(
            f"{where}: its pattern may take very long to match. Write the names of the modules as "
            "a list instead."
        )


def _bits(tree: Iterable[tuple[Any, Any]]) -> float:
    """Estimate log2 of the number of ways in which a parsed pattern can match.

    Raises:
        _Slow: it repeats something that can match in several ways.
    """
    return sum(_bits_of(str(kind), given) for kind, given in tree)


def _bits_of(kind: str, given: Any) -> float:
    if kind.endswith("_REPEAT"):
        return _bits_of_repeat(*given)
    if kind == "BRANCH":
        branches = given[1]
        choice = 0.0 if _exclude_each_other(branches) else math.log2(len(branches))
        return choice + max(map(_bits, branches))
    if kind == "GROUPREF_EXISTS":
        return 1 + sum(_bits(branch) for branch in given[1:] if branch)
    if kind in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
        return _bits(given[-1])
    return _bits(given) if kind == "ATOMIC_GROUP" else 0.0


def _bits_of_repeat(low: int, high: int, tree: Any) -> float:
    inside = _bits(tree)
    if high == 1:
        return inside + 1
    if inside > 0:
        raise _Slow
    loops = 0.0 if _is_one_character(tree) else math.log2(max(1, low))
    if low == high:
        return loops
    return loops + min(1.0 if _is_digits(tree) else REPEAT_BITS, math.log2(high - low + 1))


def _exclude_each_other(branches: Iterable[Any]) -> bool:
    """Whether no alternative begins with the text of another, so that at most one can match."""
    heads = sorted(map(_literal_start, branches))
    return not any(after.startswith(head) for head, after in pairwise(heads))


def _literal_start(tree: Any) -> str:
    plain = takewhile(lambda item: str(item[0]) == "LITERAL", tree)
    return "".join(chr(code) for _, code in plain).casefold()


def _is_one_character(tree: Any) -> bool:
    return len(tree) == 1 and str(tree[0][0]) in ("LITERAL", "NOT_LITERAL", "ANY", "IN")


def _is_digits(tree: Any) -> bool:
    """Whether only digits are repeated, of which a module name has few in a row."""
    if len(tree) != 1 or str(tree[0][0]) != "IN":
        return False
    return all(
        (str(kind), str(given)) == ("CATEGORY", "CATEGORY_DIGIT")
        or (str(kind) == "RANGE" and chr(given[0]).isdigit() and chr(given[1]).isdigit())
        for kind, given in tree[0][1]
    )
