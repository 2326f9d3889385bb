"""Engines that run a model: one protocol, two verbs."""
