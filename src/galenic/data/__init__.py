"""Data sets: questions, calibration text, and their sources."""
