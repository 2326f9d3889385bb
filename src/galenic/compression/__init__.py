"""Compression of models, block by block: pruning and quantization. For training see training/."""
