"""Inference engines behind one interface: log-likelihoods and text generation."""
