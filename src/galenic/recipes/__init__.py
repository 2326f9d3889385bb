"""Recipes: stages in a YAML file, their plan, their run, and the card of what comes out."""
