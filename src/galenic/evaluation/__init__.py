"""From examples to records to metrics."""
