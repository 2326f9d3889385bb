"""Patterns of other people's files: usual ones pass, those that may take forever do not."""

from __future__ import annotations

import pytest

from galenic.errors import UserError
from galenic.models.safe_pattern import check_pattern

UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|k_proj)))"
)


@pytest.mark.parametrize(
    "pattern",
    [
        "all-linear",
        "q_proj",
        r".*\.(q_proj|v_proj)$",
        r"^(?!.*visual).*(?:q_proj|k_proj).*",
        r"model\.layers\.(1[0-9]|2[0-7])\.self_attn\.[qv]_proj",
        r"[(*+]+x",
        r".*layers\.\d+\.[a-z]+\.(q|k|v|o)_proj",
        r"((a|b)c)*",
        "(?x)#)\n q_proj",
        UNSLOTH,
    ],
)
def test_usual_patterns_pass(pattern: str) -> None:
    check_pattern(pattern, "here")


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"(.*)*x",
        r"(a|aa)+$",
        r"(?:(?:\w+)\.?)*end",
        r"([a-z]+){2,}x",
        r".*.*.*.*.*x",
        r"(.?){30}.{40}x",
        ".?" * 30 + "x",
        "(.|[a-z])" * 30 + "x",
        "(a|A)" * 4 + "(?i:(a|A)|b)+",
        "(a)?(?(1)a|.)" * 20 + "x",
        "(?=.*)" * 8,
        "(?:){1000000000}",
        "(?:a|ab){2,}c",
        "a" * 3000,
    ],
)
def test_slow_ones_are_refused(pattern: str) -> None:
    with pytest.raises(UserError, match=r"here: its pattern may take very long"):
        check_pattern(pattern, "here")


def test_what_is_no_pattern() -> None:
    with pytest.raises(UserError, match=r"pattern is not a regular expression: .*subpattern"):
        check_pattern("(q_proj", "here")
