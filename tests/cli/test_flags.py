"""Flags made from the options of several methods."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field

from galenic.cli.flags import parse_config, parse_method, with_options
from galenic.errors import UserError
from galenic.registry import PRUNERS, Registry


class First(BaseModel):
    share: float = Field(0.5, ge=0, lt=1, description="How much.")
    gentle: bool = Field(False, description="Go slowly.")


class Second(BaseModel):
    share: float = Field(0.5, ge=0, lt=1, description="How much.")


class Base(BaseModel):
    model: str = Field(description="Which.")


METHODS = Registry("method", {"first": f"{__name__}:First", "second": f"{__name__}:Second"})


def test_options_are_optional_and_say_whose_they_are() -> None:
    fields = with_options(Base, METHODS).model_fields
    assert list(fields) == ["model", "share", "gentle"]
    assert fields["model"].is_required()
    assert fields["share"].default is fields["gentle"].default is None
    assert fields["share"].description == "How much. [default: 0.5]"
    assert fields["gentle"].description == "Go slowly. (first)"
    assert with_options(Base, METHODS)(model="m", share=None)
    with pytest.raises(ValueError, match="less than 1"):
        with_options(Base, METHODS)(model="m", share=1)


def test_only_what_was_given_reaches_the_method() -> None:
    assert parse_method(METHODS, "second", {"share": None, "gentle": None}) == Second()
    assert parse_method(METHODS, "first", {"share": 0.1, "gentle": True}).gentle
    with pytest.raises(UserError, match="--gentle is an option of first, not of second"):
        parse_method(METHODS, "second", {"gentle": False})
    with pytest.raises(UserError, match=r"--share 2\.0: .*less than 1"):
        parse_method(METHODS, "second", {"share": 2.0})
    with pytest.raises(UserError, match=r"unknown method 'frist'.*'first'"):
        parse_method(METHODS, "frist", {})


def test_a_option_means_the_same_in_every_pruning_method() -> None:
    seen: dict[str, tuple[object, ...]] = {}
    for name in PRUNERS:
        for option, field in PRUNERS.load(name).model_fields.items():
            facts = (field.annotation, field.default, field.description, tuple(field.metadata))
            assert seen.setdefault(option, facts) == facts, (name, option)


class Served(BaseModel):
    """Settings with a secret."""

    api_key: str = Field("", max_length=5)
    model: str = ""


def test_what_is_given_can_be_written_down_and_a_key_is_not_repeated() -> None:
    assert parse_config(Served, {"model": "ä"}).model == "ä"
    with pytest.raises(UserError, match="model 'x\\\\udcff': this is not valid UTF-8"):
        parse_config(Served, {"model": "x\udcff"})
    with pytest.raises(UserError, match=r"^--api-key: .*at most 5") as told:
        parse_config(Served, {"api_key": "secret-one"})
    assert "secret" not in str(told.value)
