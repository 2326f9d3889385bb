"""Examples and where they come from."""
