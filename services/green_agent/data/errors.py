"""What is raised when data are not as they should be."""

from __future__ import annotations


class DataError(Exception):
    """A data set is missing, broken or not the published one. The text names it and the remedy."""
