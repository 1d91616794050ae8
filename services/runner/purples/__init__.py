"""Agents under test: read from `--purple`, several run on one plan, and compared."""
