"""Request bodies for completions and tokenization, as in OpenAI's completions API.

Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from galenic.serve.schema import Sampling, only

__all__ = ["CompletionRequest", "DetokenizeRequest", "TokenizeRequest"]

MOST_PROMPTS = 1024
MOST_CHOICES = 16
MOST_TOP = 20


def _prompts(given: Any) -> Any:
    """Normalize any accepted form of ``prompt`` to a list of texts and token lists."""
    found = given if isinstance(given, list) and given else [given]
    if _is_tokens(found):
        found = [found]
    if not all(isinstance(one, str) or _is_tokens(one) for one in found):
        raise ValueError("it is a text, a list of texts, a list of tokens, or a list of those")
    return found


def _is_tokens(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(one) is int for one in given)


class CompletionRequest(Sampling):
    """A text completion request."""

    prompts: Annotated[list[str | list[int]], BeforeValidator(_prompts)] = Field(alias="prompt")
    max_tokens: int = Field(16, ge=0)
    n: int = Field(1, ge=1, le=MOST_CHOICES)
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    add_special_tokens: bool = True
    best_of: Annotated[Any, BeforeValidator(only(1))] = None
    suffix: Annotated[Any, BeforeValidator(only(""))] = None

    @model_validator(mode="after")
    def _fitting(self) -> CompletionRequest:
        if len(self.prompts) * self.n > MOST_PROMPTS:
            raise ValueError(f"at most {MOST_PROMPTS} prompts and choices in one request")
        plain = len(self.prompts) == self.n == 1 and self.logprobs is None and not self.echo
        if self.stream and not (plain and self.max_tokens):
            raise ValueError("only one text without echo and logprobs comes as a stream")
        return self


class TokenizeRequest(BaseModel):
    """Body of ``/tokenize``, in the format of vLLM or of llama.cpp's server."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str | None = None
    content: str | None = None
    model: str | None = None
    add_special_tokens: bool = True
    add_special: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.content is None):
            raise ValueError("give the text as prompt, or as content")
        return self

    @property
    def text(self) -> str:
        """The text to tokenize."""
        return self.prompt or self.content or ""

    @property
    def special(self) -> bool:
        """Whether to add the start token; in llama.cpp's format only on request."""
        return self.add_special_tokens if self.prompt is not None else bool(self.add_special)


class DetokenizeRequest(BaseModel):
    """Body of ``/detokenize``: token ids to turn into text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tokens: list[int]
    model: str | None = None
