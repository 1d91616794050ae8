"""Scorers that several benchmarks share."""
