"""Check regular expressions from untrusted files for catastrophic backtracking."""

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
"""Maximum number of repetition operators: a match may try every way to divide a module name (about
sixty characters) among them."""
_REPEATS = "*+{"
_PLAIN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)  # escapes, character classes


def check_patterns(config: Mapping[str, Any], where: str) -> None:
    """Check every regular expression by which an adapter's configuration selects modules.

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
    """Check that a pattern is valid and matches any short text in little time.

    Refused are more than `MOST_REPEATS` repetitions, and repeated groups that contain a repetition
    or alternatives, because matching may take exponential time.

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
    """Whether a repeated group contains repetitions or alternatives."""
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
