"""Evaluation of models: prompts, scoring, records and metrics."""
