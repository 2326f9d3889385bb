"""Making models smaller: prune, heal, quantize."""
