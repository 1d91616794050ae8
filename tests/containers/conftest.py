"""Builds the images once. Without an engine every test here is skipped with the reason."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import Stack, why_not


@pytest.hookimpl(tryfirst=True)  # before tests/conftest.py groups the tests by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the engine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def images() -> None:
    """All images, built from the checkout as `docker compose build` does it."""
    if reason := why_not():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as folder:
        Stack(name="assay-build", results=Path(folder)).compose("build", "--quiet")


@pytest.fixture(scope="module")
def stack(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack but the runner, started and healthy; everything is removed at the end."""
    started = Stack(name="assay-test", results=tmp_path_factory.mktemp("results"))
    try:
        started.compose("up", "--detach", "--wait", "inference", "purple", "sandbox", "green")
        yield started
    finally:
        started.compose("down", "--volumes", "--timeout", "2")
