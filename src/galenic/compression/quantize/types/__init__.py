"""ggml's block types: their levels and layouts, and their speed on this machine."""
