"""A text as plain tokens, phrases, numbers, values, ages. What counts of it is said elsewhere."""
