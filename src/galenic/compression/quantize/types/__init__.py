"""ggml's block types themselves: their levels, and how fast they are here; not who chooses."""
