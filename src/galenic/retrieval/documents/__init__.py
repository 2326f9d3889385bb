"""Readers that turn documents into passages, one module per document type."""
