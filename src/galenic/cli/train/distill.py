"""``galenic distill``: heal a pruned model with its dense parent's predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.cli.flags import parse_config, parse_method, with_flags, with_options
from galenic.cli.options import ManifestOption, NewFolderOption
from galenic.cli.output import echo
from galenic.cli.stage import say_if_sample
from galenic.registry import DISTILLERS
from galenic.training.distill.config import DistillConfig

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest
    from galenic.training.loop import TrainingOutcome

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Heal a pruned model by distillation: it learns its teacher's probabilities at every token of "
    "medical text (logits), or the teacher's own answers (sequence). The result is an ordinary "
    "model folder. An interrupted run resumes when the same command is run again."
)
EXAMPLES = """
**Examples**

`galenic distill narrow/ --teacher smollm2-135m --data DIR -o healed/`

`galenic distill narrow/ --teacher smollm2-135m --data DIR --text general.txt --rank 32 -o healed/`

`galenic distill narrow/ --teacher smollm2-135m --method sequence --data DIR -o healed/`
"""


FIRST = (
    *("model", "teacher", "data", "text", "method", "epochs", "learning_rate"),
    *("num_samples", "rank", "seed", "threads"),
)


@with_flags(with_options(DistillConfig, DISTILLERS), first=FIRST)
def command(
    *,
    output: NewFolderOption,
    as_json: ManifestOption = False,
    **values: Any,
) -> None:
    """Heal a model."""
    from galenic.artifact.manifest import check_new
    from galenic.cli.progress import watched

    own = {name: values.pop(name) for name in DistillConfig.model_fields}
    config = parse_config(DistillConfig, own)
    method = parse_method(DISTILLERS, config.method, values)
    check_new(output)
    say_if_sample(config.data)
    from galenic.training.distill.run import distill  # only now, for it takes seconds

    with watched(
        f"{output} was not written; run the same command again to resume at the last checkpoint.",
        less="--max-steps N stops earlier, --rank N needs less memory",
    ) as watcher:
        done = distill(config, method, output, watcher)
    if done.manifest is None:
        return  # the first process speaks for all
    if as_json:
        echo(done.manifest.model_dump_json(indent=1))
    else:
        _show(done.outcome, done.manifest, output)


def _show(outcome: TrainingOutcome, manifest: Manifest, output: Path) -> None:
    checks = manifest.stages[-1].checks
    best = outcome.best.step if outcome.best else 0
    echo(f"{output}: weights of step {best} of {outcome.steps} ({outcome.stopped}).")
    for name, title in (("heldout_loss", "loss"), ("heldout_kl", "KL to the teacher")):
        if name in checks:
            echo(
                f"Held-out {title}, nats a token: {checks[f'{name}_before']:.4f} before, "
                f"{checks[name]:.4f} after."
            )
