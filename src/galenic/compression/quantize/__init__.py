"""Quantization: store weights in fewer bits."""
