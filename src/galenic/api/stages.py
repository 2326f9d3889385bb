"""Functions that change a model: each reads a model and writes a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galenic.api.given import (
    Model,
    Progress,
    build_method,
    data_folder,
    model_name,
    watcher_of,
)
from galenic.api.results import Artifact
from galenic.artifact.manifest import Manifest, check_new
from galenic.errors import UserError
from galenic.registry import DISTILLERS, FINETUNERS, PRUNERS, QUANTIZERS

__all__ = ["compress", "distill", "finetune", "merge", "prune", "quantize"]


def compress(
    model: Model,
    recipe: str | Path,
    output: str | Path,
    *,
    data: str | Path | None = None,
    text: str | Path | None = None,
    num_samples: int | None = None,
    measure: bool = True,
    progress: Progress = False,
) -> Artifact:
    """Compress a model by a recipe: stages of pruning, training and quantizing, in order.

    Args:
        model: a name, path, Hub id, or the result of another call.
        recipe: name of a shipped recipe, or path of a YAML file.
        output: the folder to create; an interrupted compression is resumed.
        data: folder with medquad/medquad.jsonl.gz; default: ``GALENIC_DATA``.
        text: path of your own UTF-8 text, used for calibration as well.
        num_samples: number of calibration sequences, instead of the recipe's.
        measure: measure quality on a few held-out texts at the end, for the model card.
        progress: True prints progress to standard error.

    Raises:
        UserError: the input is invalid, or a check of the result failed.
    """
    from galenic.recipes.recipe import read_recipe

    check_new(Path(output))
    found = read_recipe(str(recipe))
    if num_samples is not None:
        found = found.with_samples(num_samples)
    from galenic.recipes.run import CompressJob
    from galenic.recipes.run import compress as run

    own = None if text is None else str(text)
    job = CompressJob(model_name(model), found, data_folder(data), own, measure)
    return Artifact(Path(output), run(job, Path(output), watcher_of(progress)))


def prune(
    model: Model,
    output: str | Path,
    method: str = "wanda",
    *,
    progress: Progress = False,
    **options: Any,
) -> Artifact:
    """Remove parameters of a model.

    Args:
        model: a name, path, Hub id, or the result of another call.
        output: the folder to create.
        method: magnitude, wanda, sparsegpt, width, depth or vocab (`galenic.registry.PRUNERS`).
        progress: True prints progress to standard error.
        options: options of the method (``sparsity`` ...) and of the calibration text (``data``,
            ``text``, ``num_samples``, ``seq_len``, ``seed``).

    Raises:
        UserError: the input is invalid, or a check of the result failed.
    """
    from galenic.compression.prune.config import PruneConfig

    config, pruner = build_method(PruneConfig, PRUNERS, method, _given(model, options), "prune")
    check_new(Path(output))
    from galenic.compression.prune.run import prune as run

    return Artifact(Path(output), run(config, pruner, Path(output), watcher_of(progress)))


def quantize(
    model: Model,
    output: str | Path,
    method: str = "kquant",
    *,
    progress: Progress = False,
    **options: Any,
) -> Artifact:
    """Quantize a model: store its weights in fewer bits.

    Args:
        model: a name, path, Hub id, or the result of another call.
        output: the folder to create.
        method: a name in `galenic.registry.QUANTIZERS`: kquant, gptq, nf4, int8, auto_round.
        progress: True prints progress to standard error.
        options: options of the method (``bits`` ...) and of the calibration text.

    Raises:
        UserError: the input is invalid, or a check of the result failed.
    """
    from galenic.compression.quantize.config import QuantizeConfig

    given = _given(model, options)
    config, quantizer = build_method(QuantizeConfig, QUANTIZERS, method, given, "quantize")
    check_new(Path(output))
    from galenic.compression.quantize.run import quantize as run

    return Artifact(Path(output), run(config, quantizer, Path(output), watcher_of(progress)))


def finetune(
    model: Model,
    train: str,
    output: str | Path,
    method: str = "lora",
    *,
    progress: Progress = False,
    **options: Any,
) -> Artifact:
    """Fine-tune a model on questions or text.

    Args:
        model: a name, path, Hub id, or the result of another call.
        train: comma-separated sources: ``medquad``, ``benchmarks:train``, a .jsonl file ...
        output: the folder to create; an interrupted training is resumed.
        method: a name in `galenic.registry.FINETUNERS`: lora, full.
        progress: True prints progress to standard error.
        options: options of the method (``rank`` ...) and of the training (``learning_rate``,
            ``epochs``, ``data`` ...).

    Raises:
        UserError: the input is invalid, or the training diverged.
    """
    from galenic.training.finetune.config import FinetuneConfig

    given = {**_given(model, options), "train": train}
    config, tuner = build_method(FinetuneConfig, FINETUNERS, method, given, "finetune")
    check_new(Path(output))
    from galenic.training.finetune.run import finetune as run

    return _artifact(output, run(config, tuner, Path(output), watcher_of(progress)).manifest)


def distill(
    model: Model,
    teacher: Model,
    output: str | Path,
    method: str = "logits",
    *,
    progress: Progress = False,
    **options: Any,
) -> Artifact:
    """Train a compressed model to match the predictions of its teacher (distillation).

    Args:
        model: the student: a name, path, Hub id, or the result of another call.
        teacher: the same for the teacher; usually the model before compression.
        output: the folder to create; an interrupted training is resumed.
        method: a name in `galenic.registry.DISTILLERS`: logits, sequence.
        progress: True prints progress to standard error.
        options: options of the method (``alpha``, ``temperature`` ...) and of the text.

    Raises:
        UserError: the input is invalid, or the training diverged.
    """
    from galenic.training.distill.config import DistillConfig

    given = {**_given(model, options), "teacher": model_name(teacher)}
    config, distiller = build_method(DistillConfig, DISTILLERS, method, given, "distill")
    check_new(Path(output))
    from galenic.training.distill.run import distill as run

    return _artifact(output, run(config, distiller, Path(output), watcher_of(progress)).manifest)


def merge(
    model: Model, adapter: Model, output: str | Path, *, progress: Progress = False
) -> Artifact:
    """Merge an adapter into the weights of its base model.

    Args:
        model: the base model.
        adapter: folder of the adapter, or the result of `finetune`.
        output: the folder to create.
        progress: True prints progress to standard error.

    Raises:
        UserError: the input is invalid, or the merged model's logits differ.
    """
    check_new(Path(output))
    from galenic.training.merge import merge as run

    folder = Path(model_name(adapter))
    return Artifact(
        Path(output), run(model_name(model), folder, Path(output), watcher_of(progress))
    )


def _given(model: Model, options: dict[str, Any]) -> dict[str, Any]:
    """Add the model's name and the default data folder (``GALENIC_DATA``) to the options."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in
             options.items()}  # fmt: skip
    return {**given, "model": model_name(model), "data": data_folder(given.get("data"))}


def _artifact(output: str | Path, manifest: Manifest | None) -> Artifact:
    if manifest is None:
        raise UserError("this needs several processes: run it from the command line.")
    return Artifact(Path(output), manifest)
