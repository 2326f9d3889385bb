"""Estimates of the memory that a node needs, from the number of weights of its model.

These are upper bounds, so that simultaneous nodes fit: the size of the study's initial model is
used, even if pruning has made it smaller. Measured on SmolLM2-135M: distillation 5.4 GB, adapters
2.2 GB, answers 1.6 GB (results/).
"""

from __future__ import annotations

from galenic.recipes.recipe import parse_recipe
from galenic.study.graph import Node

__all__ = ["memory_needed"]

PROCESS = 1.2e9
"""Base memory in bytes of Python, PyTorch and their work space."""
PER_WEIGHT = {
    "answers": 4.0,
    "perplexity": 8.0,  # the model and its reference
    "speed": 4.0,
    "prune": 6.0,
    "quantize": 6.0,
    "finetune": 12.0,
    "distill": 28.0,  # weights, gradients and two moments; the teacher; activations
}
"""Bytes per weight of the model, by kind of node or stage."""
HALF = 0.5
"""Factor for weights held in 16 bits."""


def memory_needed(node: Node) -> int:
    """Return the estimated maximum memory of a node's process in bytes."""
    what = node.kind
    if what == "stage":
        what = parse_recipe(node.spec["recipe"]).steps[-1].stage
    share = PER_WEIGHT[what]
    if node.kind == "answers" and node.spec["config"]["dtype"] != "float32":
        share *= HALF
    return int(PROCESS + share * node.parameters)
