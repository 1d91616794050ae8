import os
from pathlib import Path

import pytest

from services.inference.machine.gpus import Gpu, GpuUser, NoGpusError, as_hardware, gpu_users, gpus
from tests.inference.local.machine import Machine


@pytest.fixture
def driver(box: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Commands are found on the machine's PATH."""
    monkeypatch.setenv("PATH", box.env["PATH"])
    return box


def test_gpus_are_read_as_the_driver_prints_them_without_what_it_keeps_for_itself(driver: Machine) -> None:
    first, second = driver.gpus(0, 61_000)

    assert gpus() == (
        Gpu(index=0, uuid=first, name="NVIDIA H100 80GB HBM3", total_gib=81_008 / 1024, used_gib=0.0, cc="9.0"),
        Gpu(index=1, uuid=second, name="NVIDIA H100 80GB HBM3", total_gib=81_008 / 1024, used_gib=61_000 / 1024, cc="9.0"),
    )  # fmt: skip
    assert [gpu.busy for gpu in gpus()] == [False, True]


def test_a_name_with_a_comma_in_a_process_and_memory_that_is_hidden_are_read(driver: Machine) -> None:
    (uuid,) = driver.gpus(0, users="{0}, 77, /opt/a, b/python, [N/A]")

    assert gpu_users() == (GpuUser(uuid=uuid, pid=77, name="/opt/a, b/python", gib=None),)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (
            "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
            "could not comm",
        ),
        ("echo 'No devices were found'; exit 0", "No devices were found"),
        ("exit 0", "lists no GPU"),
        ("echo '0, GPU-1, NVIDIA GB10, [N/A], 0, [N/A], 12.1'", "does not tell memory"),
    ],
)
def test_a_driver_that_shows_nothing_is_quoted_with_the_remedy(driver: Machine, script: str, fault: str) -> None:
    driver.program("nvidia-smi", f"#!/bin/sh\n{script}\n")

    with pytest.raises(NoGpusError, match=fault):
        gpus()


def test_without_nvidia_smi_the_remedy_is_the_cpu_or_a_kind_of_gpu(driver: Machine) -> None:
    with pytest.raises(NoGpusError, match=r"nvidia-smi was not found.*--gpu cpu.*--gpu KIND"):
        gpus()
    assert not Path(driver.bin, "nvidia-smi").exists()
    assert os.environ["PATH"].startswith(str(driver.bin))


def test_unlike_gpus_are_planned_as_the_least_of_them() -> None:
    def one(index: int, gib: float, cc: str) -> Gpu:
        return Gpu(index=index, uuid=f"GPU-{index}", name=f"card {gib:.0f}", total_gib=gib, used_gib=0.0, cc=cc)

    found = as_hardware([one(0, 80.0, "9.0"), one(1, 24.0, "10.0")])

    assert (found.key, found.gib, found.cc, found.per_node) == ("auto", 24.0, "9.0", 2)
