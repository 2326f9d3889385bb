"""Request bodies of OpenAI's chat completions.

Each setting is either applied or refused; none is silently ignored.
Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from galenic.limits import SCHEMA_NODES
from galenic.runtimes.base import LOWEST_TEMPERATURE

__all__ = ["ChatRequest", "Message", "Part", "Sampling", "only"]

MOST_MESSAGES = 256
MOST_STOPS = 4


class Part(BaseModel):
    """A part of a message's content; only text is supported."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="ignore", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """The message's text, all parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="ignore", strict=True)

    include_usage: bool = False


def _temperature(value: float) -> float:
    if 0 < value < LOWEST_TEMPERATURE:
        raise ValueError(f"it is 0 (the likeliest token) or from {LOWEST_TEMPERATURE} to 2")
    return value


def _stops(stop: str | list[str] | None) -> str | list[str] | None:
    found = [stop] if isinstance(stop, str) else stop or []
    if len(found) > MOST_STOPS or "" in found:
        raise ValueError(f"at most {MOST_STOPS} stop texts, none of them empty")
    return stop


def only(*allowed: Any, hint: str = "") -> Callable[[Any], Any]:
    """Build a validator that accepts values without effect and refuses unsupported ones."""

    def check(value: Any) -> Any:
        if value is not None and not any(value == one for one in allowed):
            raise ValueError(f"this is not supported here; leave it out{hint}")
        return None

    return check


_Neutral = Annotated[Any, BeforeValidator(only(0))]
_Absent = Annotated[Any, BeforeValidator(only([], {}, "none", False))]


class Sampling(BaseModel):
    """Sampling settings shared by chat and text completions."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = None
    temperature: Annotated[float, AfterValidator(_temperature)] | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: Annotated[str | list[str] | None, AfterValidator(_stops)] = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Not used, not kept.")
    frequency_penalty: _Neutral = None
    presence_penalty: _Neutral = None
    logit_bias: _Absent = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatRequest(Sampling):
    """A chat completion request."""

    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: int | None = None
    response_format: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    logprobs: Annotated[Any, BeforeValidator(only(False, hint=", or use /v1/completions"))] = None
    top_logprobs: _Neutral = None
    tools: _Absent = None
    tool_choice: _Absent = None
    store: _Absent = None

    @field_validator("n")
    @classmethod
    def _one(cls, n: int | None) -> int | None:
        if n not in (None, 1):
            raise ValueError("only one answer is given (n = 1)")
        return n

    @field_validator("response_format")
    @classmethod
    def _known_form(cls, form: dict[str, Any] | None) -> dict[str, Any] | None:
        kind = "text" if form is None else form.get("type")
        if kind not in ("text", "json_object", "json_schema"):
            raise ValueError("response_format is text, json_object or json_schema")
        if kind == "json_schema":
            named = (form or {}).get("json_schema")
            if not isinstance(named, dict) or not isinstance(named.get("schema"), dict):
                raise ValueError("response_format json_schema needs json_schema.schema")
            if (size := _nodes(named["schema"])) > SCHEMA_NODES:
                raise ValueError(f"the schema has {size:,} parts; at most {SCHEMA_NODES:,}")
        return form

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        """JSON schema that the answer must follow; None for free text."""
        form = self.response_format or {}
        if form.get("type") == "json_object":
            return {"type": "object"}
        found: dict[str, Any] | None = (form.get("json_schema") or {}).get("schema")
        return found

    @property
    def wanted_tokens(self) -> int | None:
        """The caller's limit on new tokens; None if not given."""
        return self.max_completion_tokens or self.max_tokens


def _nodes(value: Any) -> int:
    """Number of keys, values and lists in JSON; `galenic.serve.body` limits its depth."""
    if isinstance(value, dict):
        return 1 + sum(1 + _nodes(one) for one in value.values())
    return 1 + sum(map(_nodes, value)) if isinstance(value, list) else 1
