"""Test runs log warnings and errors only: a failing test shows its own story. With `-n`, a file stays in one process."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pytest
import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

SHARED = ("docker", "slurm", "engine")
"""Markers of tests that share something of the machine: all of one kind run in one process, one after the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for pytest-xdist. The long ones, whole assessments, come first so that none is left at the end."""
    items.sort(key=lambda item: _place(item.path.parts))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _place(parts: Iterable[str]) -> int:
    return 0 if "integration" in parts else 1


def _group(item: pytest.Item) -> str:
    shared = (name for name in SHARED if item.get_closest_marker(name) is not None)
    return next(shared, str(Path(item.path).relative_to(item.config.rootpath)))
