"""Making models smaller, block by block: prune and quantize. Training is in training/."""
