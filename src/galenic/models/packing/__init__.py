"""Weights that files store otherwise than a model computes with them.

Experts that are apart in a file, and numbers packed by bitsandbytes. What a GGUF makes of weights
is in `galenic.models.gguf`.
"""
