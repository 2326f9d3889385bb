"""The benchmarks: source, prompt, options, version."""
