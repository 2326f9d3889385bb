"""Benchmark definitions: source, prompt, options and version."""

from galenic.data.benchmarks.base import Benchmark, original_label, rotate
from galenic.data.benchmarks.select import resolve_benchmarks

__all__ = ["Benchmark", "original_label", "resolve_benchmarks", "rotate"]
