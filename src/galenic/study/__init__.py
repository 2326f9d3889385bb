"""A grid of models, recipes, benchmarks and scorings, computed once and never lost."""
