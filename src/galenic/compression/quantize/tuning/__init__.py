"""Tuning a quantized model inside its format: codes, scales, norms; not a byte more."""
