"""What the tests of local servers run on."""

from pathlib import Path

import pytest

from tests.inference.local.machine import Machine, machine


@pytest.fixture
def box(tmp_path: Path) -> Machine:
    return machine(tmp_path)
