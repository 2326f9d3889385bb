"""Composition of answers from the handbook and indexed passages; each sentence has a source."""
