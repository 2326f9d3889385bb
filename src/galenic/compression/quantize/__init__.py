"""Fewer bits a weight."""
