"""Scoring methods: ways to turn a question into scores of its options."""
