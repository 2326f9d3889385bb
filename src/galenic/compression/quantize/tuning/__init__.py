"""Tuning of a quantized model's codes, scales and norms, without changing its format or size."""
