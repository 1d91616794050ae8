"""Test runs log warnings and errors only: a failing test shows its own story. With `-n`, a file stays in one process."""

import logging
import signal
from typing import Any

import pytest
import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

# What runs in the background of a shell, or under nohup, inherits that these are ignored; so would every command of ours.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

LONG = ("tests/containers/", "tests/integration/", "tests/inference/slurm/")
SHARED = {"containers": "docker", "test_container": "docker", "slurm": "slurm"}
"""Parts of a path that mean: this shares something of the machine, so all of its kind run in one process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones come first, so that none is left at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files to processes; module fixtures are made once. Groups by marker (`loadgroup`) do nothing with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only where it is used

    class ByFile(LoadScopeScheduling):  # type: ignore[misc] # ships no types
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return next((kind for part, kind in SHARED.items() if part in path), path)

    return ByFile(config, log)
