"""Regular expressions from files that others made: only those that cannot take forever."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from galenic.errors import UserError
from galenic.limits import one_line

__all__ = ["check_pattern", "check_patterns"]

LONGEST = 2000
MOST_REPEATS = 6
"""Unbounded repetitions: names of modules have some sixty letters, and matching one may try each
way to divide them among these."""
_REPEATS = "*+{"
_PLAIN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)  # no operators within


def check_patterns(config: Mapping[str, Any], where: str) -> None:
    """Check every pattern of an adapter's configuration, by which peft chooses modules.

    Raises:
        UserError: as `check_pattern`.
    """
    for key in ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save"):
        if isinstance(config.get(key), str):
            check_pattern(config[key], where)
    for key in ("rank_pattern", "alpha_pattern"):
        if isinstance(config.get(key), dict):
            for pattern in config[key]:
                check_pattern(str(pattern), where)


def check_pattern(pattern: str, where: str) -> None:
    """Check that a pattern is one and takes little time on any short text.

    A repeated group that repeats or chooses inside, and more than `MOST_REPEATS` repetitions, may
    take time beyond all measure.

    Args:
        pattern: a regular expression.
        where: it is from, for messages.

    Raises:
        UserError: it is not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"{where}: its pattern is no regular expression: {one_line(str(error))}."
        ) from error
    bare = _PLAIN.sub("x", pattern)
    too_long = len(pattern) > LONGEST or sum(map(bare.count, _REPEATS)) > MOST_REPEATS
    if too_long or _repeats_choices(bare):
        raise UserError(
            f"{where}: its pattern may take very long to match. Write the names of the modules as "
            "a list instead."
        )


def _repeats_choices(bare: str) -> bool:
    """Whether a group with repetitions or alternatives inside is repeated itself."""
    inside = [False]
    for at, letter in enumerate(bare):
        if letter == "(":
            inside.append(False)
        elif letter == ")":
            varies = inside.pop()
            if varies and bare[at + 1 : at + 2] in tuple(_REPEATS):
                return True
            inside[-1] = inside[-1] or varies
        elif letter in f"{_REPEATS}|":
            inside[-1] = True
    return False
