"""Commands that measure: evaluate, report, compare, baseline, perplexity, inspect."""
