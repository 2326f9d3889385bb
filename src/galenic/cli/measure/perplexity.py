"""``galenic perplexity``: how well a model predicts held-out text, and its KL from the parent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.cli.flags import parse_config, with_flags
from galenic.cli.numbers import check_file, show_numbers
from galenic.cli.output import echo
from galenic.evaluation.config import DivergenceConfig

if TYPE_CHECKING:
    from galenic.bootstrap import Estimate
    from galenic.evaluation.divergence import Divergence

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Measure a model on held-out medical text: perplexity, bits per byte, KL to its parent.

Bits per byte are comparable between tokenizers; perplexity is not. KL is KL(parent || model) of the
next-token distribution in nats, averaged over tokens; top-1 is how often both models rank the same
token first. For a model with a pruned vocabulary, perplexity is also given per token of the parent,
and KL covers the tokens that both have, renormalised, where both tokenize alike; the probability
that the parent gave to dropped tokens is shown. Intervals are 95 %, by resampling sequences.
llama.cpp rounds activations to 8 bits for quantized weights, so that even the same file differs
slightly from the torch runtime.
"""
EXAMPLES = """
**Examples**

`galenic perplexity small/ --data DIR`

`galenic perplexity small.gguf --against smollm2-135m --data DIR --num-samples 64 -o small.json`

`galenic perplexity smollm2-135m --text notes.txt --json`
"""


@with_flags(DivergenceConfig)
def command(
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Also write the numbers to this JSON file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    **values: Any,
) -> None:
    """Judge a model on held-out text."""
    from galenic.cli.progress import watched

    config = parse_config(DivergenceConfig, values)
    check_file(output)
    from galenic.data.calibration import read_heldout_text
    from galenic.evaluation.divergence import measure_divergence
    from galenic.evaluation.parent import find_reference
    from galenic.models.load import resolve_model

    read_heldout_text(config)  # a missing file must not cost a model load
    with watched("Nothing was written.") as watcher:
        model = resolve_model(config.model)
        reference = find_reference(model, config.against)
        found = measure_divergence(model, reference, config, watcher)
    show_numbers(found, _print, output, as_json=as_json)


def _print(found: Divergence) -> None:
    for title, side in (("model", found.model), ("against", found.reference)):
        if side is not None:
            echo(f"{title}: {side.model}  ({side.weights}, {side.runtime} runtime)")
            echo(f"  perplexity     {_show(side.perplexity, 3)}  over {side.num_tokens:,} tokens")
            echo(f"  bits per byte  {_show(side.bits_per_byte, 4)}")
    if found.reference is not None:
        _print_differences(found)
    sources = ", ".join(one["source"] for one in found.text)
    echo(
        f"text: {sources}; {found.num_samples} sequences of {found.seq_len} tokens, "
        f"{found.num_bytes:,} bytes, seed {found.seed}; in brackets 95 % intervals over sequences"
    )


def _print_differences(found: Divergence) -> None:
    reference, ratio = found.reference, found.perplexity_ratio
    per_token, kl = found.perplexity_per_reference_token, found.kl
    if reference is None or ratio is None or per_token is None:
        return
    echo(f"compared with {reference.model}:")
    if found.model.num_tokens != reference.num_tokens:
        echo(f"  perplexity per token of the other's tokenizer  {_show(per_token, 3)}")
    echo(f"  perplexity ratio  {_show(ratio, 4)}")
    if kl is None:
        echo("  no KL: the two vocabularies are not related, so compare bits per byte.")
        return
    echo(
        f"  KL {_show(kl.mean, 5)} nats a token, median {kl.median:.5f}, "
        f"99th percentile {kl.percentile_99:.4f}"
    )
    echo(f"  same top-1 token  {_show(kl.same_top, 4)}")
    if kl.compared < 1 or kl.dropped_mass > 0:
        echo(
            f"  KL over {kl.compared:.1%} of the tokens, those that both models share; "
            f"{kl.dropped_mass:.2%} of the probability is on tokens that only the other has"
        )


def _show(estimate: Estimate, digits: int) -> str:
    value, low, high = (f"{x:.{digits}f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
