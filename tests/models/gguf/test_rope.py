"""Rotary settings of configs, old and new, and the metadata they become; values by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from galenic.errors import UserError
from galenic.models.gguf.rope import Rope, llama3_divisors, read_rope

ALL = ("default", "linear", "yarn", "llama3", "longrope")
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def read(
    allowed: tuple[str, ...] = ALL,
    head_dim: int = 16,
    layered: bool = False,
    share: float = 0.0,
    **config: Any,
) -> Rope:
    return read_rope(config, "tiny", head_dim, allowed, layered=layered, share=share)


class Writer:
    """Keeps what is added, by the last part of the method's name."""

    def __init__(self) -> None:
        self.added: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda value: self.added.update({name.removeprefix("add_rope_"): value})


def described(rope: Rope) -> dict[str, Any]:
    writer: Any = Writer()
    rope.describe(writer)
    return dict(writer.added)


def test_plain_settings_of_every_age() -> None:
    for config in ({}, {"rope_parameters": None}, {"rope_scaling": None}):
        assert read(**config) == Rope("default", 16, 10000.0)
    assert read(rope_theta=500).theta == 500.0
    assert read(rope_parameters={"rope_theta": 300.0}).theta == 300.0
    assert described(Rope("default", 16, 300.0)) == {"dimension_count": 16, "freq_base": 300.0}


@pytest.mark.parametrize("key", ["rope_type", "type"])
def test_linear_scaling(key: str) -> None:
    from gguf import RopeScalingType

    rope = read(rope_theta=20.0, rope_scaling={key: "linear", "factor": 4})
    assert (rope.kind, rope.theta, rope.factor, rope.window_theta) == ("linear", 20.0, 4.0, None)
    assert described(rope) == {
        "dimension_count": 16,
        "freq_base": 20.0,
        "scaling_type": RopeScalingType.LINEAR,
        "scaling_factor": 4.0,
    }


def test_layers_with_a_window_have_a_base_of_their_own() -> None:
    new = read(
        layered=True,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
        },
    )
    old = read(
        layered=True,
        rope_theta=1000.0,
        rope_local_base_freq=300.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
    )
    assert new == old
    assert (new.theta, new.window_theta, new.factor) == (1000.0, 300.0, 8.0)
    assert described(new)["freq_base_swa"] == 300.0
    usual = read(layered=True)
    assert (usual.theta, usual.window_theta) == (1e6, 10000.0)
    with pytest.raises(UserError, match="scales the positions of sliding layers"):
        read(
            layered=True,
            rope_parameters={"full_attention": {}, "sliding_attention": {"rope_type": "linear"}},
        )


def test_yarn_and_what_a_gguf_cannot_say_of_it() -> None:
    from gguf import RopeScalingType

    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    rope = read(rope_parameters=yarn)
    assert (rope.factor, rope.original) == (4.0, 32)
    assert described(rope) == {
        "dimension_count": 16,
        "freq_base": 10000.0,
        "scaling_type": RopeScalingType.YARN,
        "scaling_factor": 4.0,
        "scaling_orig_ctx_len": 32,
    }
    usual = {"beta_fast": 32, "beta_slow": 1, "truncate": True, "attention_factor": None}
    usual |= {"mscale": None, "mscale_all_dim": None}
    assert read(rope_parameters=yarn | usual) == rope
    assert read(rope_parameters=yarn | {"beta_fast": None}) == rope
    for odd in (
        {"beta_fast": 33}, {"beta_slow": 2}, {"truncate": False}, {"attention_factor": 1.0},
        {"mscale": 1.0}, {"mscale_all_dim": 1.0},
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"sets {next(iter(odd))} of yarn"):
            read(rope_parameters=yarn | odd)


def test_llama3_keeps_short_waves_and_divides_long_ones() -> None:
    """The three cases of Llama 3.1's own code, one frequency at a time."""
    rope = read(rope_parameters={"rope_type": "llama3", "rope_theta": 50.0, **LLAMA3}, head_dim=12)
    expected = []
    for number in range(6):
        wave = 2 * math.pi * 50.0 ** (2 * number / 12)
        if wave < 64 / 4.0:
            expected.append(1.0)
        elif wave > 64 / 1.0:
            expected.append(8.0)
        else:
            smooth = (64 / wave - 1.0) / (4.0 - 1.0)
            expected.append(1 / ((1 - smooth) / 8.0 + smooth))
    assert 1.0 in expected and 8.0 in expected and any(1 < value < 8 for value in expected)
    (name, divisors), *more = rope.tensors.items()
    assert name == "rope_freqs.weight" and not more
    assert divisors.dtype == np.float32
    np.testing.assert_allclose(divisors, expected, rtol=1e-6)
    assert described(rope) == {"dimension_count": 12, "freq_base": 50.0}
    with pytest.raises(KeyError):
        llama3_divisors({}, rope)


def longrope(**changes: Any) -> dict[str, Any]:
    parameters = {
        "rope_type": "longrope",
        "short_factor": [1.0, 1.5, 2.0, 2.5],
        "original_max_position_embeddings": 32,
    }
    return {
        "share": 1.0,
        "max_position_embeddings": 128,
        "partial_rotary_factor": 0.5,
        "rope_parameters": parameters | changes,
    }


def test_longrope_takes_the_short_factors_for_all_texts() -> None:
    rope = read(**longrope())
    assert (rope.dims, rope.original) == (8, 32)
    assert rope.attention_factor == pytest.approx(math.sqrt(1 + math.log(4) / math.log(32)))
    assert set(rope.tensors) == {"rope_factors_long.weight", "rope_factors_short.weight"}
    for tensor in rope.tensors.values():
        assert tensor.tolist() == [1.0, 1.5, 2.0, 2.5]
    assert described(rope) == {
        "dimension_count": 8,
        "freq_base": 10000.0,
        "scaling_orig_ctx_len": 32,
        "scaling_attn_factors": rope.attention_factor,
    }
    assert read(**longrope(rope_type="su")).kind == rope.kind == "longrope"  # its first name
    assert read(**longrope(attention_factor=1.5)).attention_factor == 1.5
    same = longrope()
    same["max_position_embeddings"] = 32
    assert read(**same).attention_factor == 1.0
    same["max_position_embeddings"] = 64  # twice as long: log 2 / log 32 is 1 / 5
    assert read(**same).attention_factor == pytest.approx(math.sqrt(1.2))
    same["max_position_embeddings"] = 16
    assert read(**same).attention_factor == 1.0
    outside = longrope(original_max_position_embeddings=None)
    assert read(**outside, original_max_position_embeddings=64).original == 64
    with pytest.raises(UserError, match="has 3 rotary factors; 4 were expected"):
        read(**longrope(short_factor=[1.0] * 3))
    with pytest.raises(UserError, match="longrope rotary settings lack or misstate"):
        read(**longrope(short_factor=None, original_max_position_embeddings=0))


def test_factors_that_do_not_depend_on_the_length_are_written_as_divisors() -> None:
    allowed, short = (*ALL, "divisors"), [1.0, 1.5, 2.0, 2.5]
    rope = read(allowed, **longrope(long_factor=short, attention_factor=1.0))
    assert (rope.kind, rope.attention_factor) == ("divisors", 1.0)
    assert {name: tensor.tolist() for name, tensor in rope.tensors.items()} == {
        "rope_freqs.weight": short
    }
    for change in (
        {"long_factor": [1.0, 1.5, 2.0, 3.0], "attention_factor": 1.0},
        {"long_factor": short, "attention_factor": 1.25},
        {"long_factor": short},
    ):
        assert read(allowed, **longrope(**change)).kind == "longrope"


@pytest.mark.parametrize("theta", [0, -1.0, math.inf, math.nan, True, "10000", None, [1.0]])
def test_a_base_is_a_positive_number(theta: object) -> None:
    for layered in (False, True):
        with pytest.raises(UserError, match=r"rope_theta is .*, not a positive number"):
            read(layered=layered, rope_theta=theta)


def test_what_cannot_be_written_is_named() -> None:
    with pytest.raises(UserError, match=r"'dynamic'.*Known: default, linear"):
        read(("default", "linear"), rope_parameters={"rope_type": "dynamic"})
    for config in (
        {"partial_rotary_factor": 0.5},
        {"rope_parameters": {"partial_rotary_factor": 0.5}},
    ):
        with pytest.raises(UserError, match=r"only a part of each head \(0\.5\)"):
            read(("default",), **config)
    assert read(("default",), partial_rotary_factor=1.0).dims == 16
    with pytest.raises(UserError, match="linear rotary settings lack or misstate 'factor'"):
        read(rope_parameters={"rope_type": "linear"})
