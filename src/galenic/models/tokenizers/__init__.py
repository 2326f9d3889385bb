"""Tokenizers read from files alone: byte pairs, and cutting a vocabulary."""
