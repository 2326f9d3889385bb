"""Reading what callers send, and answering what cannot be read: never with a traceback."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from galenic.errors import UserError
from galenic.serve.guard import error_response
from galenic.serve.worker import Busy

__all__ = ["read_body", "told"]

DEEPEST = 32
"""Levels that a request's JSON may be nested."""
RETRY_AFTER = "5"
"""Seconds after which a caller may try again."""

_Form = TypeVar("_Form", bound=BaseModel)
_Handler = Callable[[Any, Request], Awaitable[Response]]


def told(handler: _Handler) -> _Handler:
    """A handler whose errors become answers that say what to do."""

    @wraps(handler)
    async def safe(self: Any, request: Request) -> Response:
        try:
            return await handler(self, request)
        except ClientDisconnect:
            return error_response(413, f"at most {self.config.max_bytes} bytes are taken")
        except ValidationError as error:
            return error_response(400, _first(error))
        except UserError as error:
            return error_response(400, str(error))
        except Busy as error:
            refused = error_response(429, str(error), "rate_limit_error")
            refused.headers["Retry-After"] = RETRY_AFTER
            return refused

    return safe


async def read_body(request: Request, form: type[_Form]) -> _Form:
    """The request's JSON in a form.

    Raises:
        UserError: it is no UTF-8, no JSON, or nested too deep.
        ValidationError: it does not fit the form.
    """
    return form.model_validate(_parse(await request.body()))


def _parse(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError("the request is not UTF-8") from error
    if _depth(text) > DEEPEST:
        raise UserError(f"the request is nested deeper than {DEEPEST} levels")
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"the request is not JSON: {error}") from error


def _depth(text: str) -> int:
    """Most brackets open at once, those in strings counted too: more than enough for a bound."""
    deepest = depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
