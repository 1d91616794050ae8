"""A real SLURM of two nodes on this machine, each with eight pretended GPUs, for as long as a test session needs it.

Everything runs as the present user, in one folder and on free ports. Specification: inference 10.
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import pytest

PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "sinfo", "slurmctld", "slurmd", "munged")
NODES = ("n1", "n2")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that runs. While it does, SLURM's commands in this process's environment speak to it."""

    folder: Path
    """For the tests' files too: all nodes see it."""
    ports: tuple[int, ...]

    def queue(self) -> dict[str, str]:
        """State and reason of every job that waits or runs, by id."""
        lines = slurm("squeue", "--noheader", "--array", "--format=%i|%T %r").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def job(self, job_id: str) -> dict[str, str]:
        """What `scontrol show job` says, by key."""
        text = slurm("scontrol", "--oneliner", "show", "job", job_id)
        return dict(pair.split("=", 1) for pair in text.split() if "=" in pair)


def slurm(*command: str) -> str:
    """Standard output of one of SLURM's commands, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


def until(holds: Callable[[], object], *, what: str, timeout_s: float = 30.0) -> None:
    """Ask again and again until it holds; fails the test after the time-out."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(POLL_S)


def missing_programs() -> str | None:
    """Why no cluster can be started here; None when one can."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    return f"slurm-wlm and munge are not installed: no {', '.join(absent)}" if absent else None


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Starts munged, the controller and two nodes; stops them, and checks that neither a process nor a port is left."""
    ports = _free_ports(1 + len(NODES))
    for name in ("state", "dev", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir()
    for number in range(8):
        (folder / f"dev/gpu{number}").touch()
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/dev/gpu[0-7]\n", encoding="utf-8")
    conf = folder / "slurm.conf"
    conf.write_text(_configuration(folder, ports), encoding="utf-8")
    cluster = Cluster(folder=folder, ports=ports)
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        environment.setenv("SLURM_CONF", str(conf))
        _start(stack, folder / "munged.pid", *_munged(folder))
        _start(stack, folder / "slurmctld.pid", "slurmctld", "-f", str(conf), "-c")
        for node in NODES:
            _start(stack, folder / f"slurmd.{node}.pid", "slurmd", "-f", str(conf), "-N", node)
        until(_all_idle, what="two idle nodes", timeout_s=START_TIMEOUT_S)
        stack.callback(_empty, cluster)
        yield cluster
    _nothing_listens(ports)


def _program(name: str) -> str | None:
    # Daemons live in sbin, which the PATH of a plain user lacks.
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


def _free_ports(count: int) -> tuple[int, ...]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(int(one.getsockname()[1]) for one in sockets)


def _configuration(folder: Path, ports: tuple[int, ...]) -> str:
    host, user = socket.gethostname().split(".")[0], getuser()
    values = {
        "ClusterName": "lab",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge.sock",
        "CredType": "cred/munge",
        "SlurmctldPort": ports[0],
        "SlurmdParameters": "config_overrides",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool.%n",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.%n.pid",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": folder / "slurmd.%n.log",
        "ProctrackType": "proctrack/pgid",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "JobCompType": "jobcomp/none",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "GresTypes": "gpu",
        "ReturnToService": 2,
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=2,bf_interval=2",
        "MinJobAge": 300,  # longer than any test on a busy machine; the rest is as the specification says
        "KillWait": 5,
        "InactiveLimit": 0,
        "SlurmctldTimeout": 30,
        "SlurmdTimeout": 30,
        "MaxArraySize": 1001,
    }
    lines = [f"{key}={value}" for key, value in values.items()]
    for node, port in zip(NODES, ports[1:], strict=True):
        lines.append(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=4000 Gres=gpu:8 State=UNKNOWN"
        )
    lines.append("PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8")
    return "\n".join(lines) + "\n"


def _munged(folder: Path) -> tuple[str, ...]:
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    files = {
        "key-file": key.name,
        "socket": "munge.sock",
        "pid-file": "munged.pid",
        "log-file": "munged.log",
        "seed-file": "seed",
    }
    return ("munged", "--force", *(f"--{name}={folder / file}" for name, file in files.items()))


def _start(stack: ExitStack, pid_file: Path, *command: str) -> None:
    """Start a program that puts itself into the background, and have it stopped at the end."""
    stack.callback(_stop, pid_file)
    program = _program(command[0])
    assert program is not None
    log = pid_file.with_suffix(".start")
    with log.open("wb") as output:  # a file: the daemon would keep a pipe open
        code = subprocess.run([program, *command[1:]], stdout=output, stderr=output, timeout=30, check=False).returncode
    assert code == 0, f"{' '.join(command)}: {log.read_text(encoding='utf-8', errors='replace')}"
    until(lambda: _pid(pid_file) is not None, what=f"{pid_file.name} of {command[0]}")


def _pid(pid_file: Path) -> int | None:
    text = pid_file.read_text(encoding="utf-8").strip() if pid_file.exists() else ""
    return int(text) if text else None


def _stop(pid_file: Path) -> None:
    pid = _pid(pid_file)
    if pid is None:
        return
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            ended = select.select([handle], [], [], STOP_TIMEOUT_S)[0]
            assert ended, f"{pid_file.stem} did not stop within {STOP_TIMEOUT_S:g} s"
        finally:
            os.close(handle)


def _all_idle() -> bool:
    done = subprocess.run(["sinfo", "--noheader", "--Node", "--format=%T"], capture_output=True, text=True, check=False)
    return done.stdout.split() == ["idle"] * len(NODES)


def _empty(cluster: Cluster) -> None:
    """Jobs that a failed test left would outlive the daemons."""
    if left := sorted(cluster.queue()):
        slurm("scancel", *left)
        until(lambda: not cluster.queue(), what="an empty queue after scancel", timeout_s=STOP_TIMEOUT_S)


def _nothing_listens(ports: tuple[int, ...]) -> None:
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} of the cluster is still open"
