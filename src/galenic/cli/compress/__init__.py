"""Commands that make a model smaller: compress, plan, prune, quantize."""
