"""Weights whose layout in a file differs from that in the model.

Experts stored as separate tensors, and weights packed by bitsandbytes. For GGUF files see
`galenic.models.gguf`.
"""
