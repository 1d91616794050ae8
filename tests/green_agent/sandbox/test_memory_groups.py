"""The kernel's memory limit for a worker, where groups may be made; a machine that allows none says so in its facts."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.contract.execution import LimitHit, Limits, Program
from services.green_agent.sandbox.facts import machine_facts
from services.green_agent.sandbox.memory_groups import PREFIX, SPARE_BYTES, Hierarchy, MemoryGroup, hierarchy
from services.green_agent.sandbox.pool import LocalSandbox
from tests.green_agent.sandbox.conftest import needs_compiler

MIB = 1 << 20
EATER = "import time\nblocks = [bytearray(b'x' * (1 << 20)) for _ in range(400)]\ntime.sleep(600)"


@pytest.fixture
def place() -> Hierarchy:
    found = hierarchy()
    if found is None:
        pytest.skip("no memory cgroup may be made here")
    return found


@pytest.fixture
def group(place: Hierarchy) -> Iterator[MemoryGroup]:
    group = MemoryGroup(place)
    yield group
    group.remove()


def ours(place: Hierarchy) -> list[Path]:
    return list(place.folder.glob(f"{PREFIX}{os.getpid()}-*"))


def test_the_kernel_ends_what_outgrows_its_group_and_counts_it(group: MemoryGroup) -> None:
    group.limit(100 * MIB)
    assert group.kills() == 0

    ended = subprocess.run(group.inside(["python3", "-c", EATER]), check=False, timeout=60)

    assert (ended.returncode, group.kills()) == (-9, 1)


async def test_a_worker_is_in_a_group_with_room_for_its_program(warm: LocalSandbox, place: Hierarchy) -> None:
    limits = Limits(memory_bytes=300 * MIB, scratch_bytes=16 * MIB)

    await warm.run(Program(source="", limits=limits))

    (folder,) = ours(place)
    assert int((folder / place.limit_file).read_text()) == 316 * MIB + SPARE_BYTES
    assert (folder / "cgroup.procs").read_text().split() != []


async def test_groups_are_gone_with_the_sandbox(warm: LocalSandbox, place: Hierarchy) -> None:
    await warm.run(Program(source=""))
    assert len(ours(place)) == 1

    await warm.aclose()

    assert ours(place) == []


FLOOD = """
#include <sys/socket.h>
#include <unistd.h>
char data[1 << 16];
int main() {
    for (int i = 0; i < 31; i++) if (!fork()) break;
    for (int ends[2]; !socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);)
        for (int end : ends) while (write(end, data, sizeof data) > 0);
    sleep(600);
}
"""


@needs_compiler
@pytest.mark.usefixtures("place")
async def test_a_program_whose_buffers_have_its_own_watcher_killed_ran_out_of_memory(warm: LocalSandbox) -> None:
    flood = Program(source=FLOOD, language="cpp", limits=Limits(memory_bytes=64 * MIB, scratch_bytes=MIB))

    flooded = await warm.run(flood)
    after = [await warm.run(Program(source="print(1)")) for _ in range(4)]

    assert flooded.limit is LimitHit.MEMORY
    assert [result.stdout for result in after] == ["1\n"] * 4


def test_facts_say_how_memory_is_limited(place: Hierarchy) -> None:
    told = machine_facts(isolated=True)["memory limit"]

    assert told.endswith(f"resident size of all every 50 ms, cgroup v{place.version} of each worker")


def test_a_group_where_none_may_be_made_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        MemoryGroup(Hierarchy(version=2, folder=tmp_path / "nowhere"))
