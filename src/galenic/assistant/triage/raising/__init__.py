"""Layers that can only raise the tier that the rules found. The rules themselves are elsewhere."""
