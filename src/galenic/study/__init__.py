"""Studies: grids of models, recipes, benchmarks and scorings, computed resumably."""
