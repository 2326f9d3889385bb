"""llama.cpp: a GGUF."""

from __future__ import annotations

from pathlib import Path

from galenic.exporters.base import Exporter, Job, as_gguf

__all__ = ["LlamaCpp"]


class LlamaCpp(Exporter):
    """The GGUF alone."""

    name = "llama.cpp"
    title = "GGUF for llama.cpp and what is built on it"
    reference_url = "https://github.com/ggml-org/llama.cpp"

    def write(self, job: Job, folder: Path) -> str:
        gguf = as_gguf(job, folder)
        return f"llama-server -m FOLDER/{gguf.name}\nllama-cli -m FOLDER/{gguf.name} --temp 0"
