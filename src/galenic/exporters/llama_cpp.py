"""Exporter for llama.cpp: a GGUF."""

from __future__ import annotations

from pathlib import Path

from galenic.exporters.base import Exporter, ExportJob, as_gguf, beside

__all__ = ["LlamaCpp"]


class LlamaCpp(Exporter):
    """Writes a GGUF, and the adapter if there is one."""

    name = "llama.cpp"
    title = "GGUF for llama.cpp and what is built on it"
    reference_url = "https://github.com/ggml-org/llama.cpp"
    adapters = True

    def write(self, job: ExportJob, folder: Path) -> str:
        gguf, adapter = as_gguf(job, folder), beside(job, folder)
        lora = f" --lora FOLDER/{adapter.name}" if adapter else ""
        return (
            f"llama-server -m FOLDER/{gguf.name}{lora}\n"
            f"llama-cli -m FOLDER/{gguf.name}{lora} --temp 0"
        )
