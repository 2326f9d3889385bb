"""Parsing of request bodies; errors become HTTP answers, never tracebacks."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.runtimes.base import Runtime
from galenic.serve.guard import error_response
from galenic.serve.worker import Busy
from galenic.strict_json import unique_keys

__all__ = ["NotServedError", "check_model", "read_body", "told"]

DEEPEST = 32
"""Maximum nesting depth of a request's JSON."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
BRACKET = re.compile(r"[\[\]{}]")
RETRY_AFTER = "5"
"""Seconds after which a caller may try again."""

_Form = TypeVar("_Form", bound=BaseModel)
_Handler = Callable[[Any, Request], Awaitable[Response]]


class NotServedError(UserError):
    """Raised when a request names another model than the one served."""


def told(handler: _Handler) -> _Handler:
    """Wrap a request handler so that its errors become HTTP answers that say what to do."""

    @wraps(handler)
    async def safe(self: Any, request: Request) -> Response:
        try:
            return await handler(self, request)
        except ClientDisconnect:
            return error_response(413, f"at most {self.config.max_bytes} bytes are taken")
        except ValidationError as error:
            where, words = _first(error)
            return error_response(400, words, param=where or None)
        except NotServedError as error:
            return error_response(404, str(error), param="model", code="model_not_found")
        except UserError as error:
            return error_response(400, str(error))
        except Busy as error:
            refused = error_response(429, str(error), "rate_limit_error")
            refused.headers["Retry-After"] = RETRY_AFTER
            return refused

    return safe


def check_model(name: str | None, runtime: Runtime) -> None:
    """Check that the requested model is the one served; None means that one.

    Raises:
        NotServedError: it is a different model.
    """
    here = runtime.info.model
    if name not in (None, here):
        raise NotServedError(f"the model here is {here}; it was asked for by another name")


async def read_body(request: Request, form: type[_Form]) -> _Form:
    """Parse and validate the request's JSON body.

    Raises:
        UserError: it is not UTF-8 or not JSON, has text that cannot be encoded, or is nested too
            deep.
        ValidationError: it does not match ``form``.
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
        found = json.loads(text, parse_constant=_no_number, object_pairs_hook=unique_keys)
    except ValueError as error:
        raise UserError(f"the request is not JSON: {error}") from error
    if SURROGATE.search(text) and not _is_text(found):
        raise UserError("the request has half a character (a lone surrogate, \\ud800 to \\udfff)")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _is_text(found: Any) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _depth(text: str) -> int:
    """Upper bound of the nesting depth: open brackets, those inside strings counted too."""
    deepest = depth = 0
    for bracket in BRACKET.findall(text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _first(error: ValidationError) -> tuple[str, str]:
    """Return the first invalid field and why; of the input only field names are repeated."""
    first = error.errors()[0]
    where = one_line(".".join(str(part) for part in first["loc"]))
    if first["type"] == "extra_forbidden":
        return where, f"{where}: this setting is not known here; leave it out"
    return where, f"{where}: {one_line(first['msg'])}" if where else one_line(first["msg"])
