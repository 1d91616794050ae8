"""Tests of the verdicts on code."""
