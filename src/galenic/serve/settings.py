"""Configuration of the server; the flags of ``galenic serve`` are made from it."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from galenic.assistant import DEFAULT_MODEL
from galenic.errors import UserError

__all__ = ["ServeConfig", "is_loopback"]


SPARE = 7
"""Connections kept free of queued callers, so that triage stays reachable."""


class ServeConfig(BaseModel):
    """Address, limits and answer settings of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        DEFAULT_MODEL,
        description="smollm2-135m (embedded), a dose, a GGUF file, a folder, or a Hub id.",
    )
    adapter: str | None = Field(
        None,
        description="LoRA adapter to apply to a GGUF at run time: a folder made by `galenic "
        "finetune`, or a GGUF.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on; any other than this machine's own needs --api-key.",
    )
    port: int = Field(8080, ge=1, le=65535, description="Port to listen on.")
    api_key: str | None = Field(
        None,
        min_length=16,
        description="Key that clients must send as `Authorization: Bearer KEY`. Better set in the "
        "environment variable GALENIC_API_KEY than on the command line.",
    )
    allow_host: str = Field(
        "",
        description="Comma-separated host names under which other machines may reach this one. "
        "Requests with any other Host header are refused.",
    )
    max_queue: int = Field(
        64,
        ge=0,
        description="Maximum number of waiting requests; further ones get status 429 at once.",
    )
    max_connections: int = Field(
        256,
        ge=8,
        description="Maximum number of connections (fewer where the process may open fewer "
        "files); at most a quarter of them from one other machine.",
    )
    max_tokens: int = Field(512, ge=1, description="Maximum new tokens per answer.")
    max_seconds: float = Field(
        120.0,
        gt=0,
        description="Maximum seconds per answer, not counting the wait; then it is cut off.",
    )
    max_bytes: int = Field(2_097_152, ge=1024, description="Maximum request size in bytes.")
    context_length: int | None = Field(
        None, ge=64, description="Context length in tokens; default: the model's own limit."
    )
    chat_template_kwargs: str = Field(
        "{}",
        description='Arguments of the chat template as JSON, such as \'{"enable_thinking": '
        "false}'; a request may override them.",
    )
    style: Literal["extractive", "written"] = Field(
        "extractive",
        description="How health questions are answered. extractive: sentences quoted from the "
        "sources; written: the model writes, and only sentences that a source entails "
        "are shown.",
    )
    entailment_model: str | None = Field(
        None,
        description="With --style written: folder of a transformers classifier for entailment "
        "(NLI) that also checks each sentence. Untried with a trained model.",
    )
    second_opinion: bool = Field(
        False,
        description="Let the model raise the urgency to `today`; it never lowers it. Small models "
        "are often wrong about this.",
    )
    threads: int | None = Field(
        None, ge=1, description="Compute threads; default: chosen from the machine's load."
    )

    @model_validator(mode="after")
    def _guarded(self) -> ServeConfig:
        if not is_loopback(self.host) and self.api_key is None:
            raise UserError(
                f"--host {self.host} can be reached from other machines: set GALENIC_API_KEY (16 "
                "characters or more), or leave --host out to serve this machine alone."
            )
        return self

    @field_validator("api_key", mode="before")
    @classmethod
    def _without_blanks(cls, key: object) -> object:
        return key.strip() if isinstance(key, str) else key

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 host."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def fitting(self, connections: int) -> ServeConfig:
        """Return a copy whose queue leaves `SPARE` of the connections free for triage."""
        return self.model_copy(update={"max_queue": min(self.max_queue, connections - SPARE)})

    @property
    def hosts(self) -> frozenset[str]:
        """Accepted values of the Host header, without the port."""
        named = {name.strip().lower() for name in self.allow_host.split(",") if name.strip()}
        own = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset({"127.0.0.1", "localhost", "[::1]", own.lower(), *named})


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
