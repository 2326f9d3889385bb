"""What callers may send, in the form of OpenAI's chat completions, and what they get.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["ChatRequest", "Message", "Part"]

MOST_MESSAGES = 256


class Part(BaseModel):
    """A part of a message; only text is understood."""

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
        """Its text, parts put together."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What is sent along with a stream."""

    model_config = ConfigDict(extra="ignore", strict=True)

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A chat completion request; settings that are not known are ignored, as other servers do, but
    for those that ask for what is not there."""

    model_config = ConfigDict(extra="ignore", strict=True)

    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, strict=False)
    seed: int | None = Field(None, ge=0)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: Any = None
    response_format: dict[str, Any] | None = None

    @field_validator("n")
    @classmethod
    def _one(cls, n: int | None) -> int | None:
        if n not in (None, 1):
            raise ValueError("only one answer is given (n = 1)")
        return n

    @field_validator("tools")
    @classmethod
    def _no_tools(cls, tools: Any) -> Any:
        if tools:
            raise ValueError("tools are not supported")
        return None

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
        return form

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | list[str] | None) -> str | list[str] | None:
        found = [stop] if isinstance(stop, str) else stop or []
        if len(found) > 4 or "" in found:
            raise ValueError("at most 4 stop texts, none of them empty")
        return stop

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must follow; None for free text."""
        form = self.response_format or {}
        if form.get("type") == "json_object":
            return {"type": "object"}
        found: dict[str, Any] | None = (form.get("json_schema") or {}).get("schema")
        return found

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wanted_tokens(self) -> int | None:
        """Most new tokens that the caller wants."""
        return self.max_completion_tokens or self.max_tokens
