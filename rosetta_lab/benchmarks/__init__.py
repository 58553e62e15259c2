"""Benchmarks: each measures its ratios within one run."""
