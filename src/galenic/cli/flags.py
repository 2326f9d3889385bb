"""Command-line flags made from the fields of a config: each knob is declared once."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from galenic.errors import UserError

__all__ = ["parse_config", "with_flags"]


def with_flags(config: type[BaseModel]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's ``**knobs`` by one flag for each field of the config.

    Required fields become arguments, the others options with the field's description, default and
    bounds. The command receives them by field name.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        made = [_parameter(name, field) for name, field in config.model_fields.items()]
        kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [*made, *(p.replace(kind=p.KEYWORD_ONLY) for p in kept)]

        def run(**values: Any) -> None:
            command(**values)

        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__doc__ = command.__doc__
        return run

    return decorate


Config = TypeVar("Config", bound=BaseModel)


def parse_config(config: type[Config], values: dict[str, Any]) -> Config:
    """Build a config from flag values.

    Raises:
        UserError: a value is not allowed; names the flag, the value and the reason.
    """
    try:
        return config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(cause := first.get("ctx", {}).get("error"), UserError):
            raise cause from error
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise UserError(f"{flag} {first['input']!r}: {first['msg']}") from error


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, default = _kind(field)
    if field.is_required():
        option: Any = typer.Argument(help=field.description, show_default=False)
        default = inspect.Parameter.empty
    else:
        option = typer.Option(
            _flag(name, kind),
            help=field.description,
            show_default=default is not None,
            envvar="GALENIC_DATA" if name == "data" else None,
            **_bounds(field),
        )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _flag(name: str, kind: Any) -> str:
    flag = "--" + name.replace("_", "-")
    return f"{flag}/--no-{flag[2:]}" if kind is bool else flag


def _kind(field: FieldInfo) -> tuple[Any, Any]:
    """The type and default as typer takes them: comma-separated names are one string."""
    kind, default = field.annotation, field.default
    if get_origin(kind) is tuple:
        return str, ",".join(default) if default else default
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(part for part in get_args(kind) if part is not type(None))
        return inner | None, default
    if get_origin(kind) is Literal:
        return kind, default
    return kind, default


def _bounds(field: FieldInfo) -> dict[str, Any]:
    bounds = {}
    for rule in field.metadata:
        if (least := getattr(rule, "ge", None)) is not None:
            bounds["min"] = least
        if (most := getattr(rule, "le", None)) is not None:
            bounds["max"] = most
    return bounds
