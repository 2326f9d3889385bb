"""Processing of a model block by block, and the activation statistics gathered on the way."""
