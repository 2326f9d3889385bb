"""Export models in the formats of other programs; one module for each program."""
