"""Command-line flags made from the fields of a config: each option is declared once."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from galenic.errors import UserError
from galenic.registry import Registry

__all__ = ["parse_config", "parse_method", "with_flags", "with_options"]


MORE = "More options"
METHOD = "Options of the method"


def with_flags(
    config: type[BaseModel], *, without: Collection[str] = (), first: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's ``**options`` by one flag for each field of the config.

    Required fields become arguments, the others options with the field's description, default and
    bounds. The command receives them by field name; those in ``without`` keep their defaults.

    Args:
        first: fields that the help shows at the top, in this order. The others follow in groups:
            the ``PANEL`` of the class that declares a field, or "More options". Without any, all
            fields are at the top.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        names = [*first, *(name for name in config.model_fields if name not in first)]
        made = [
            _parameter(
                name,
                config.model_fields[name],
                _panel(config, name) if first and name not in first else None,
            )
            for name in names
            if name not in without
        ]
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
    for name, value in values.items():
        try:
            str(value).encode()
        except UnicodeEncodeError as error:  # it could not be written to run.json
            raise UserError(f"{name} {value!r}: this is not valid UTF-8. Rename it.") from error
    try:
        return config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(cause := first.get("ctx", {}).get("error"), UserError):
            raise cause from error
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        why = first["msg"].replace("Input should be", "it must be")
        given = "" if flag == "--api-key" else f" {first['input']!r}"
        raise UserError(f"{flag}{given}: {why}.") from error


def with_options(config: type[BaseModel], methods: Registry) -> type[BaseModel]:
    """A config with the options of all methods added, none of them required or set.

    An option's help says which methods have it, unless all do, and the default it has there.
    """
    owners: dict[str, list[str]] = {}
    found: dict[str, tuple[FieldInfo, str]] = {}
    for method in methods:
        options = methods.load(method)
        for name, field in options.model_fields.items():
            owners.setdefault(name, []).append(method)
            found.setdefault(name, (field, _panel(options, name, METHOD)))
    fields: dict[str, Any] = {}
    for name, (field, panel) in found.items():
        owner = "" if owners[name] == list(methods) else f" ({', '.join(owners[name])})"
        help_text = f"{field.description}{owner}{_said_default(_kind(field)[1])}"
        limits: dict[str, Any] = {
            limit: value
            for rule in field.metadata
            for limit in ("gt", "ge", "lt", "le")
            if (value := getattr(rule, limit, None)) is not None
        }
        fields[name] = (
            _kind(field)[0] | None,
            Field(None, description=help_text, json_schema_extra={"panel": panel}, **limits),
        )
    return create_model(f"{config.__name__}WithOptions", __base__=config, **fields)


def parse_method(methods: Registry, name: str, values: dict[str, Any]) -> Any:
    """Build the named method from those flag values that were given.

    Raises:
        UserError: unknown method, an option that it does not have, or a value that is not allowed.
    """
    method = methods.load(name)
    given = {option: value for option, value in values.items() if value is not None}
    for option in given:
        if option not in method.model_fields:
            owners = [other for other in methods if option in methods.load(other).model_fields]
            flag = "--" + option.replace("_", "-")
            raise UserError(
                f"{flag} is an option of {', '.join(owners)}, not of {name}. Leave it out."
            )
    return parse_config(method, given)


def _said_default(default: Any) -> str:
    """The default of a method's option, which the flag itself does not have."""
    if default is None or default is False or default == ():
        return ""
    return f" [default: {'on' if default is True else default}]"


def _panel(config: type[BaseModel], name: str, otherwise: str = MORE) -> str:
    """The group of a field in the help: its own, or that of the class that declares it."""
    extra = config.model_fields[name].json_schema_extra
    if isinstance(extra, dict) and "panel" in extra:
        return str(extra["panel"])
    declares = next(part for part in config.__mro__ if name in inspect.get_annotations(part))
    return getattr(declares, "PANEL", otherwise)


def _parameter(name: str, field: FieldInfo, panel: str | None) -> inspect.Parameter:
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
            rich_help_panel=panel,
            **_bounds(field),
        )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _flag(name: str, kind: Any) -> str:
    flag = "--" + name.replace("_", "-")
    return f"{flag}/--no-{flag[2:]}" if kind in (bool, bool | None) else flag


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
