"""Building a dose on the user's machine: base model plus adapter, quantized and verified.

Takes seconds and needs no PyTorch. The result is verified by its hash, if the machine computes the
same bits, and by its answers in any case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.cache import Progress, file_sha256, locked, remember_sha256, replacing
from galenic.compression.quantize.kquant import quantize_gguf
from galenic.errors import UserError
from galenic.models.adapter import adapted_source, read_adapter
from galenic.models.fetch.dose import (
    DOSES,
    Dose,
    MeasuredAnswer,
    dose_file,
    dose_path,
    mark_made,
    read_dose,
)
from galenic.models.fetch.embedded import embedded_path
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.header import read_header
from galenic.models.gguf.write import GgufSource
from galenic.models.tensors import list_tensors

__all__ = ["IMPORTANCE", "answers_of", "build_dose", "dose_source", "pull_dose", "read_importance"]

IMPORTANCE = "importance.safetensors"


def pull_dose(name: str, *, progress: Progress | None = None) -> Path:
    """Return the GGUF of a packaged dose, building it in the user's cache if missing.

    Raises:
        UserError: its base cannot be downloaded, or the result differs from the published one.
    """
    path = dose_file(name)
    with locked(path):
        try:
            return dose_path(name, progress=progress)
        except UserError:
            dose = read_dose(DOSES[name])
            mark_made(path, dose, build_dose(DOSES[name], path, progress=progress))
    return path


def dose_source(base: Path, folder: Path, name: str, licence: str) -> GgufSource:
    """Return the base with the adapter merged, under a new name."""
    texts = {"general.name": name, "general.license": licence}
    return adapted_source(gguf_source(base, texts), read_header(base), read_adapter(folder))


def build_dose(folder: Path, target: Path, *, progress: Progress | None = None) -> str:
    """Download the base, merge the adapter, quantize, and verify.

    Args:
        folder: folder with the card, the adapter and the importance.
        target: path of the GGUF; an existing file is replaced atomically.
        progress: called for each step.

    Returns:
        SHA-256 of the file. It may differ from the card's if another build of llama.cpp rounds
        differently, although the answers agree.

    Raises:
        UserError: the base is not the expected file, a file is damaged, or the answers differ.
    """
    dose = read_dose(folder)
    base = embedded_path(dose.base, progress=progress)
    if (found := file_sha256(base, progress=progress)) != dose.base_sha256:
        raise UserError(f"{dose.base} has the SHA-256 {found}; this dose needs {dose.base_sha256}.")
    if progress is not None:
        progress("adding the adapter and quantizing", 0, 0)
    source = dose_source(base, folder, dose.name, dose.licence)
    types = {tensor.name: "F32" for tensor in source.tensors}
    types |= {name: kind for kind, names in dose.types.items() for name in names}
    with replacing(target) as part:
        quantize_gguf(source, part, types, importance=read_importance(folder))
        _check_answers(part, dose)
        sha256 = file_sha256(part)
    remember_sha256(target, sha256)
    return sha256


def read_importance(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return the importance of input columns by GGUF tensor name; empty if the dose has none."""
    path = folder / IMPORTANCE
    if not path.is_file():
        return {}
    return {name: tensor.decode(tensor.map()) for name, tensor in list_tensors([path]).items()}


def _check_answers(path: Path, dose: Dose) -> None:
    found = answers_of(path, [(answer.prompt, answer.log_probs) for answer in dose.answers])
    for wanted, answer in zip(dose.answers, found, strict=True):
        for label, value in wanted.log_probs.items():
            if not abs(answer.log_probs[label] - value) <= dose.tolerance:  # also catches NaN
                raise UserError(
                    f"the model that was made here does not answer as measured: {label!r} "
                    f"has a log-probability of {answer.log_probs[label]:.3f}, expected is "
                    f"{value:.3f} (allowed: {dose.tolerance:g}). Nothing was kept."
                )


def answers_of(path: Path, asked: Sequence[tuple[str, Iterable[str]]]) -> list[MeasuredAnswer]:
    """Compute with llama.cpp the log-probability of each label's first token after its prompt.

    Args:
        path: path of the GGUF.
        asked: prompts with their labels.
    """
    from galenic.runtimes.llama_engine import LlamaEngine
    from galenic.runtimes.selftest import verified_library
    from galenic.runtimes.threads import choose_threads

    engine = LlamaEngine(verified_library(), path, threads=choose_threads())
    try:
        answers = []
        for prompt, labels in asked:
            tokens = engine.encode(prompt)
            logits = engine.start(tokens, room=1).astype(np.float64)
            total = float(np.logaddexp.reduce(logits))
            ends = {label: engine.encode(f"{prompt} {label}") for label in labels}
            first = {label: end[len(tokens)] for label, end in ends.items()}
            log_probs = {label: float(logits[token]) - total for label, token in first.items()}
            if not all(math.isfinite(value) for value in log_probs.values()):
                raise UserError("the model that was made here computes values that are not finite.")
            answers.append(MeasuredAnswer(prompt=prompt, log_probs=log_probs))
        return answers
    finally:
        engine.close()
