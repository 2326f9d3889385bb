"""The ways to turn a question into scored options."""
