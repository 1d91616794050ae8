"""Servers as jobs of a real SLURM with two nodes of eight GPUs. Specification: inference 4 and 10."""

from __future__ import annotations

import os
import signal
import socket
from datetime import datetime
from pathlib import Path

import pytest

from services.inference.failures import StartError, UsageError
from services.inference.launchers.base import Server
from services.inference.launchers.slurm import SlurmLauncher
from services.inference.launchers.slurm_options import SlurmOptions
from services.inference.servers.readiness import probe
from services.inference.servers.registry import Registry
from services.inference.servers.survey import survey
from tests.inference.slurm.conftest import Limited, line_of, program, reference_launch, until_status
from tests.support.slurm import Cluster, slurm, until

pytestmark = pytest.mark.slurm

EIGHT_GPUS = SlurmOptions(gpus_per_node=8)


async def test_a_third_job_of_all_gpus_waits_for_resources_and_runs_when_another_is_cancelled(
    limited: Limited, cluster: Cluster, tmp_path: Path
) -> None:
    launcher = SlurmLauncher(EIGHT_GPUS)
    launch = reference_launch(tmp_path)
    first, second, third = [(await launcher.start(launch))[0].id for _ in range(3)]
    until_status(launch.registry, first, "running")
    until_status(launch.registry, second, "running")
    until(lambda: cluster.queue()[third] == "PENDING Resources", what="the reason of the third")

    states = await launcher.state([first, second, third])
    assert (states, line_of(launch.registry, third)) == (
        {first: "running", second: "running", third: "starting"},
        None,
    )

    assert await launcher.stop([first], timeout_s=30) == [first]
    until_status(launch.registry, third, "running")
    assert sorted(await launcher.stop([second, third], timeout_s=30)) == sorted([second, third])
    assert not {first, second, third} & set(cluster.queue())


async def test_the_servers_of_an_array_are_ready_and_registered_once_each_and_a_cancelled_one_says_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    launcher = SlurmLauncher(SlurmOptions(cpus_per_task=1, time="10", mem="100M"))
    launch = reference_launch(tmp_path, count=3)
    servers = await launcher.start(launch)
    lines = [until_status(launch.registry, server.id, "running") for server in servers]

    assert [server.id.partition("_")[2] for server in servers] == ["0", "1", "2"]
    assert len(Registry(launch.registry).lines()) == 3
    assert {line.hostname for line in lines} <= {"n1", "n2"}
    assert len({line.port for line in lines}) == 3
    assert [(await probe(line.url, served_name="reference")).condition for line in lines] == ["ready"] * 3

    slurm("scancel", servers[1].id)
    ended = until_status(launch.registry, servers[1].id, "stopped")
    assert (ended.exit_code, ended.port) == ("143", lines[1].port)
    assert datetime.fromisoformat(ended.end_time) >= datetime.fromisoformat(ended.start_time)
    assert [line_of(launch.registry, server.id) for server in servers] == [lines[0], ended, lines[2]]

    await launcher.stop([server.id for server in servers], timeout_s=30)
    assert not {server.id for server in servers} & set(cluster.queue())
    assert [_listening(line.port) for line in lines] == [False, False, False]


async def test_an_engine_that_ends_with_3_is_a_failed_job_whose_last_words_are_shown(
    cluster: Cluster, tmp_path: Path
) -> None:
    broken = program(tmp_path, "echo 'CUDA out of memory. Tried to allocate 2.00 GiB' >&2; exit 3")
    launcher = SlurmLauncher()
    (server,) = await launcher.start(reference_launch(tmp_path, program=broken))
    line = until_status(tmp_path / "services.txt", server.id, "stopped")
    until(lambda: server.id not in cluster.queue(), what="the end of the job")

    assert line.exit_code == "3"
    assert await launcher.state([server.id]) == {server.id: "failed"}
    assert launcher.tail(server).splitlines() == [
        f"SLURM job {server.id} is FAILED, exit code 3",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
    ]


async def test_a_job_whose_script_and_engine_were_killed_leaves_a_line_that_readers_call_lost(
    cluster: Cluster, tmp_path: Path
) -> None:
    launch = reference_launch(tmp_path)
    (server,) = await SlurmLauncher().start(launch)
    until_status(launch.registry, server.id, "running")
    pids = slurm("scontrol", "listpids", server.id, line_node(launch.registry, server)).splitlines()[1:]
    for pid in (int(row.split()[0]) for row in pids):
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
    until(lambda: server.id not in cluster.queue(), what="the end of the job")
    stale = line_of(launch.registry, server.id)

    (known,) = (await survey(Registry(launch.registry))).servers

    assert stale is not None
    assert stale.status == "running"
    assert launch.registry.read_text(encoding="utf-8").strip().endswith("|stopped||lost")
    assert (known.status, known.state) == ("stopped", "failed")


async def test_a_job_that_no_node_can_hold_fails_although_slurm_lets_it_wait(cluster: Cluster, tmp_path: Path) -> None:
    launcher = SlurmLauncher(SlurmOptions(cpus_per_task=64))
    (server,) = await launcher.start(reference_launch(tmp_path))

    assert cluster.queue()[server.id] == "PENDING PartitionConfig"
    assert await launcher.state([server.id]) == {server.id: "failed"}
    assert launcher.tail(server) == (
        f"SLURM job {server.id} is PENDING for PartitionConfig, which never ends: no node of the partition has what was asked "
        "for: --gpus-per-node, --cpus-per-task, --mem or --partition"
    )
    assert await launcher.stop([server.id], timeout_s=30) == [server.id]


async def test_a_port_that_somebody_keeps_is_skipped_by_the_size_of_the_array(cluster: Cluster, tmp_path: Path) -> None:
    launch = reference_launch(tmp_path, count=2)
    with socket.socket() as stranger:
        stranger.bind(("0.0.0.0", launch.start_port))
        stranger.listen()
        servers = await SlurmLauncher().start(launch)
        ports = [until_status(launch.registry, server.id, "running").port for server in servers]

    assert ports == [launch.start_port + 2, launch.start_port + 1]
    assert len(await SlurmLauncher().stop([server.id for server in servers], timeout_s=30)) == 2


async def test_what_sbatch_refuses_is_a_start_error_with_its_words(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"SLURM refused the job: sbatch: .*invalid partition specified: nowhere"):
        await SlurmLauncher(SlurmOptions(partition="nowhere")).start(reference_launch(tmp_path))

    assert Registry(tmp_path / "services.txt").noted() == []


async def test_jobs_of_another_name_are_never_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    foreign = slurm("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 60")

    assert await SlurmLauncher().stop([foreign], timeout_s=10) == []
    assert foreign in cluster.queue()
    slurm("scancel", foreign)


async def test_options_and_log_folders_with_marks_arrive_at_slurm_as_they_were_typed(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / 'it\'s #1 "x" 100%Nice $(touch hit)'
    folder.mkdir()
    options = SlurmOptions(sbatch_args=('--comment=a "b" # $(touch hit) c',), time="5")
    launch = reference_launch(folder, program=program(folder, "echo well >&2; exit 5"))
    launcher = SlurmLauncher(options)

    (server,) = await launcher.start(launch)
    until_status(launch.registry, server.id, "stopped")
    until(lambda: server.id not in cluster.queue(), what="the end of the job")

    assert 'Comment=a "b" # $(touch hit) c' in slurm("scontrol", "show", "job", server.id)
    await launcher.state([server.id])
    assert launcher.tail(server).splitlines()[-1] == "well"
    assert sorted(path.name for path in folder.iterdir()) == [
        "logs",
        "program",
        "services.txt",
        "services.txt.d",
        "services.txt.lock",
    ]


async def test_a_registry_in_a_folder_that_does_not_exist_is_refused_before_anything_is_submitted(
    cluster: Cluster, tmp_path: Path
) -> None:
    launch, before = reference_launch(tmp_path / "absent"), set(cluster.queue())

    with pytest.raises(UsageError, match="--registry"):
        await SlurmLauncher().start(launch)

    assert set(cluster.queue()) <= before


async def test_a_job_that_comes_to_its_time_limit_says_so(limited: Limited, cluster: Cluster) -> None:
    launcher, server = SlurmLauncher(), limited.server
    line = until_status(limited.registry, server.id, "stopped", timeout_s=60)
    until(lambda: server.id not in cluster.queue(), what="the end of the job")

    assert line.exit_code == "143"
    assert await launcher.state([server.id]) == {server.id: "failed"}
    assert launcher.tail(server).startswith(
        f"SLURM job {server.id} came to its time limit (TIMEOUT): --time allows more"
    )


def line_node(registry: Path, server: Server) -> str:
    line = line_of(registry, server.id)
    assert line is not None
    return line.hostname


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
