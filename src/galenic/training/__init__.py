"""Training on a CPU: one loop, batches, losses, validation. Pruning is in compression/."""
