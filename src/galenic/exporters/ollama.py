"""Exporter for Ollama: a GGUF and a Modelfile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.exporters.base import Exporter, ExportJob, as_gguf
from galenic.exporters.chat import ChatForm, find_form
from galenic.models.gguf.header import read_metadata

__all__ = ["Ollama", "context_for", "modelfile"]

TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
CONTROL = (3, 4)
"""GGUF token types of special tokens: control, user-defined."""
CACHE_BYTES = 1 << 30
"""Maximum size of the key/value cache, which Ollama allocates at the start."""
STEP, LEAST = 1024, 2048


class Ollama(Exporter):
    """Writes a GGUF, and a Modelfile with chat template, greedy decoding and a fixed seed."""

    name = "ollama"
    title = "GGUF and Modelfile for Ollama"
    reference_url = "https://docs.ollama.com/modelfile"

    def write(self, job: ExportJob, folder: Path) -> str:
        gguf = as_gguf(job, folder)
        metadata = read_metadata(gguf, arrays=(TOKENS, TYPES))
        template = metadata.get("tokenizer.chat_template")
        form = None if template is None else _form(template, metadata, job.model.name)
        text = modelfile(gguf.name, form, _stops(form, metadata), context_for(metadata))
        if template is not None and "strftime_now" in template:
            text = f"# the template writes today's date: here it is that of the export\n{text}"
        (folder / "Modelfile").write_text(text, encoding="utf-8", newline="\n")
        name = _name_of(job.model.name)
        return f"ollama create {name} -f FOLDER/Modelfile\nollama run {name}"


def _form(template: str, metadata: Mapping[str, Any], name: str) -> ChatForm:
    """Convert the chat template.

    Raises:
        UserError: Ollama's template language cannot express it.
    """
    special = _special(metadata)
    form = find_form(template, special)
    if form is None:
        raise UserError(
            f"the chat template of {name} does more than put texts around messages (it changes "
            "some, as those of models that reason do with earlier thoughts), and Ollama runs no "
            "Jinja: it would send other texts than the model was trained on. Export it with --to "
            "llama.cpp and serve it with `llama-server --jinja`, or with `galenic serve`."
        )
    sentencepiece = metadata.get("tokenizer.ggml.model") == "llama"
    if metadata.get("tokenizer.ggml.add_bos_token", sentencepiece):
        return form.without_start(special.get("bos_token", ""))
    return form


def _stops(form: ChatForm | None, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Stop strings for the Modelfile: what follows an answer, and the end token."""
    if form is None:
        return ()
    tokens, kinds = metadata.get(TOKENS, []), metadata.get(TYPES, [])
    control = [token for token, kind in zip(tokens, kinds, strict=False) if kind in CONTROL]
    end = _special(metadata).get("eos_token")
    return tuple(dict.fromkeys([*form.stops(control), *([end] if end else [])]))


def context_for(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    """Context length to request (within `CACHE_BYTES`, at least `LEAST`) and the model's maximum.

    Args:
        metadata: metadata of the GGUF.

    Returns:
        Both in tokens; None if the GGUF does not state its context length.
    """
    architecture = metadata["general.architecture"]

    def get(key: str) -> int | None:
        value = metadata.get(f"{architecture}.{key}")
        return value if isinstance(value, int) and value > 0 else None

    context, layers, heads = get("context_length"), get("block_count"), get("attention.head_count")
    width, keys = get("embedding_length"), get("attention.head_count_kv")
    if context is None:
        return None
    if layers is None or heads is None or width is None:
        return min(context, LEAST), context
    size = get("attention.key_length") or width // heads
    token_bytes = 2 * 2 * layers * (keys or heads) * size  # keys and values, 16 bits each
    most = max(LEAST, CACHE_BYTES // token_bytes // STEP * STEP)
    return min(context, most), context


def modelfile(
    gguf: str,
    form: ChatForm | None,
    stops: Sequence[str],
    context: tuple[int, int] | None,
) -> str:
    """Return the text of a Modelfile.

    Args:
        gguf: name of the GGUF in the same folder.
        form: the chat template; None for a model without one.
        stops: stop strings.
        context: context length to request, and the model's maximum, from `context_for`.
    """
    template = "{{ .Prompt }}" if form is None else form.template
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{template}"""']
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in stops]
    if context is not None:
        wanted, most = context
        if wanted < most:
            lines.append(f"# the model takes {most}, whose keys and values need more memory")
        lines.append(f"PARAMETER num_ctx {wanted}")
    lines += ["PARAMETER temperature 0", "PARAMETER seed 0"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Quote a value for a Modelfile, which has no escape sequences."""
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'


def _name_of(model: str) -> str:
    """Name for ``ollama create``: small letters, digits, ``.``, ``_`` and ``-``."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", Path(model).name.removesuffix(".gguf").lower())
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-") or "model"


def _special(metadata: Mapping[str, Any]) -> dict[str, str]:
    tokens = metadata.get(TOKENS, [])
    found = {}
    for name in ("bos", "eos"):
        number = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            found[f"{name}_token"] = str(tokens[number])
    return found
