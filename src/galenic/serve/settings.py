"""Configuration of the server; the flags of ``galenic serve`` are made from it."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
        description="Adapter to compute beside a GGUF: a folder of `galenic finetune`, or a LoRA "
        "in GGUF form.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen at; any other than this machine's own needs --api-key.",
    )
    port: int = Field(8080, ge=1, le=65535, description="Port to listen at.")
    api_key: str | None = Field(
        None,
        min_length=16,
        description="Callers must send it as `Authorization: Bearer KEY`; better given by the "
        "environment variable GALENIC_API_KEY than on the command line.",
    )
    allow_host: str = Field(
        "",
        description="Names, apart by commas, under which other machines may call this one. A "
        "request with any other Host header is refused.",
    )
    max_queue: int = Field(
        64, ge=0, description="Requests that may wait; to more, the answer is 429 at once."
    )
    max_connections: int = Field(
        256,
        ge=8,
        description="Connections at once, fewer where this process may open fewer files; a quarter "
        "of them from one other machine.",
    )
    max_tokens: int = Field(512, ge=1, description="Most new tokens of an answer.")
    max_seconds: float = Field(
        120.0, gt=0, description="Most seconds of an answer, waiting left out; then it is cut."
    )
    max_bytes: int = Field(2_097_152, ge=1024, description="Largest request, in bytes.")
    context_length: int | None = Field(
        None, ge=64, description="Longest conversation in tokens; default: the model's own limit."
    )
    chat_template_kwargs: str = Field(
        "{}",
        description="Arguments of the chat template as JSON, such as "
        "'{\"enable_thinking\": false}'; a request may give others.",
    )
    style: Literal["extractive", "written"] = Field(
        "extractive",
        description="Answers to health questions: extractive = sentences of the sources as they "
        "are; written = the model writes, and only what a source entails is shown.",
    )
    second_opinion: bool = Field(
        False,
        description="Let the model raise the tier to `today`, never lower it. Small models are "
        "often wrong in this.",
    )
    threads: int | None = Field(
        None, ge=1, description="Compute threads; default: chosen from the machine's live load."
    )

    @model_validator(mode="after")
    def _guarded(self) -> ServeConfig:
        if not is_loopback(self.host) and self.api_key is None:
            raise UserError(
                f"--host {self.host} can be reached from other machines: set GALENIC_API_KEY (16 "
                "characters or more), or leave --host out to serve this machine alone."
            )
        return self

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
