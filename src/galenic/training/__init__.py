"""Training: the training loop, batches, losses and validation. For pruning see compression/."""
