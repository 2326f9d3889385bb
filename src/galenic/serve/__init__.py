"""A model behind HTTP, on this machine, for the people at it."""
