"""Passage retrieval: document readers, index, full-text search and embeddings."""
