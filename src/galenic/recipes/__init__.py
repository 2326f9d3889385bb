"""Recipes: compression stages in a YAML file, their planning and running, and model cards."""
