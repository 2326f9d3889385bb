"""Ollama: a Modelfile beside a GGUF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galenic.exporters.base import Exporter, Job, as_gguf
from galenic.exporters.chat import ChatForm, find_form
from galenic.models.gguf.header import read_metadata

__all__ = ["Ollama"]

TOKENS = "tokenizer.ggml.tokens"


class Ollama(Exporter):
    """A GGUF, and a Modelfile with the chat template, greedy and seeded."""

    name = "ollama"
    title = "GGUF and Modelfile for Ollama"
    reference_url = "https://docs.ollama.com/modelfile"

    def write(self, job: Job, folder: Path) -> str:
        gguf = as_gguf(job, folder)
        metadata = read_metadata(gguf, arrays=(TOKENS,))
        template = metadata.get("tokenizer.chat_template")
        found = None if template is None else find_form(template, _special(metadata))
        form, system = found or (None, None)
        context = metadata.get(f"{metadata['general.architecture']}.context_length")
        text = modelfile(gguf.name, form, system, context, chats=template is not None)
        (folder / "Modelfile").write_text(text, encoding="utf-8", newline="\n")
        name = Path(job.model.name).stem.lower()
        return f"ollama create {name} -f FOLDER/Modelfile\nollama run {name}"


def modelfile(
    gguf: str, form: ChatForm | None, system: str | None, context: int | None, *, chats: bool
) -> str:
    """The text of a Modelfile.

    Args:
        gguf: name of the file beside it.
        form: how conversations are written, where that is known.
        system: what the model is told where nobody says anything else.
        context: most tokens of a text.
        chats: whether the model has a template of its own.
    """
    lines = [f"FROM ./{gguf}"]
    if form is not None:
        lines.append(f'TEMPLATE """{form.template}"""')
        lines += [f'PARAMETER stop "{stop}"' for stop in form.stop]
    elif chats:
        lines.append("# no TEMPLATE: Ollama reads the one inside the GGUF")
    else:
        lines.append('TEMPLATE """{{ .Prompt }}"""')
    if system:
        lines.append(f'SYSTEM """{system}"""')
    if context is not None:
        lines.append(f"PARAMETER num_ctx {context}")
    lines += ["PARAMETER temperature 0", "PARAMETER seed 0"]
    return "\n".join(lines) + "\n"


def _special(metadata: Mapping[str, Any]) -> dict[str, str]:
    tokens = metadata.get(TOKENS, [])
    found = {}
    for name in ("bos", "eos"):
        number = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            found[f"{name}_token"] = str(tokens[number])
    return found
