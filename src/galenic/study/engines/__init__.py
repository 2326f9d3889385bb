"""Execution engines for the nodes of a study, one module per engine."""
