"""How much memory a node may take, from the number of its model's weights.

Upper bounds, so that what runs at once fits: the model that a study begins with counts, though a
pruned one is smaller. Measured on SmolLM2-135M: training by a teacher 5.4 GB, adapters 2.2 GB,
answers 1.6 GB (results/).
"""

from __future__ import annotations

from galenic.recipes.recipe import parse_recipe
from galenic.study.graph import Node

__all__ = ["memory_needed"]

PROCESS = 1.2e9
"""Bytes of Python, PyTorch and what they compute with."""
PER_WEIGHT = {
    "answers": 4.0,
    "perplexity": 8.0,  # beside the model it was made from
    "speed": 4.0,
    "prune": 6.0,
    "quantize": 6.0,
    "finetune": 12.0,
    "distill": 28.0,  # weights, gradients and two moments; the teacher; activations
}
"""Bytes for each weight of the model."""
HALF = 0.5
"""Of the weights' bytes, where they are held in 16 bits."""


def memory_needed(node: Node) -> int:
    """Bytes that a node's process may take at most, by estimate."""
    what = node.kind
    if what == "stage":
        what = parse_recipe(node.spec["recipe"]).steps[-1].stage
    share = PER_WEIGHT[what]
    if node.kind == "answers" and node.spec["config"]["dtype"] != "float32":
        share *= HALF
    return int(PROCESS + share * node.parameters)
