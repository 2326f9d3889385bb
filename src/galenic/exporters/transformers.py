"""Exporter for transformers: a folder with safetensors and tokenizer."""

from __future__ import annotations

from pathlib import Path

from galenic.exporters.base import Exporter, ExportJob, as_folder

__all__ = ["Transformers"]


class Transformers(Exporter):
    """Writes a folder for ``from_pretrained``; a GGUF's weights are dequantized to float32."""

    name = "transformers"
    title = "folder for transformers"
    reference_url = "https://huggingface.co/docs/transformers/main_classes/model"

    def write(self, job: ExportJob, folder: Path) -> str:
        as_folder(job, folder)
        return (
            'python -c "from transformers import AutoModelForCausalLM as M; '
            "M.from_pretrained('FOLDER')\""
        )
