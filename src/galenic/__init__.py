"""Galenic compounds large medical language models into small private doses."""

__version__ = "0.2.0"
