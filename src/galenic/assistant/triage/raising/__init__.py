"""Layers of triage that can only raise the tier."""
