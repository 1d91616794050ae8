"""One cluster for all tests of a worker, and launches of the reference engine on it."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.contract.endpoint_files import ServiceLine
from services.inference.engines.base import Serving
from services.inference.engines.reference import reference_plan
from services.inference.launchers.base import Launch, Server
from services.inference.launchers.slurm import SlurmLauncher
from services.inference.launchers.slurm_options import SlurmOptions
from services.inference.planning.planner import Request
from services.inference.planning.presets import catalogue
from services.inference.servers.registry import Registry
from tests.support.slurm import Cluster, missing_programs, running_cluster, slurm, until


@pytest.fixture(scope="package")  # what leaves this folder must find no cluster in its environment
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if (reason := missing_programs()) is not None:
        pytest.skip(reason)
    with running_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Limited:
    """A job whose time is soon up."""

    server: Server
    registry: Path


@pytest.fixture(scope="package")
def limited(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Limited:
    """SLURM looks at time limits every 30 s, so the job runs beside the other tests."""
    launch = reference_launch(tmp_path_factory.mktemp("limited"))
    (server,) = asyncio.run(SlurmLauncher(SlurmOptions(time="5")).start(launch))
    until_status(launch.registry, server.id, "running")
    soon = (datetime.now().astimezone() + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S")
    slurm("scontrol", "update", f"JobId={server.id}", f"EndTime={soon}")
    return Limited(server=server, registry=launch.registry)


def free_port() -> int:
    """Free now, and none that the kernel gives to connections."""
    while True:
        port = random.randrange(12_000, 32_000)  # a collision costs a try
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


def reference_launch(
    folder: Path,
    *,
    count: int = 1,
    program: Path | None = None,
    says: Callable[[str], None] = print,
    timeout_s: float = 60.0,
) -> Launch:
    """Reference engines from any free port on; `program` stands in for `inference`."""
    return Launch(
        plan=reference_plan(servers=count),
        serving=Serving(served_name="reference"),
        engine="reference",
        count=count,
        start_port=free_port(),
        log_folder=folder / "logs",
        registry=folder / "services.txt",
        server_timeout_s=timeout_s,
        program=str(program) if program else None,
        says=says,
    )


def vllm_launch(folder: Path, *, model: str = "Qwen/Qwen3-32B", count: int = 1, stub: Path | None = None) -> Launch:
    """vLLM on two GPUs a server."""
    known = catalogue()
    preset = known.preset("qwen3-32b").model_copy(update={"id": model})
    request = Request(preset=preset, gpu=known.gpu("h100-80"), count=8, tp=2)
    planned = replace(reference_plan(), request=request, tp=2)
    serving = Serving(served_name="qwen3-32b")
    return replace(
        reference_launch(folder, count=count, program=stub),
        plan=planned,
        serving=serving,
        engine="vllm",
        host="localhost",
    )


def program(folder: Path, text: str) -> Path:
    """A program that bash runs."""
    file = folder / "program"
    file.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def line_of(registry: Path, job_id: str) -> ServiceLine | None:
    """The one line of a job; None when there is none."""
    found = [line for line in Registry(registry).lines() if line.job_id == job_id]
    assert len(found) <= 1, found
    return found[0] if found else None


def until_status(registry: Path, job_id: str, status: str, *, timeout_s: float = 30.0) -> ServiceLine:
    def reached() -> bool:
        line = line_of(registry, job_id)
        return line is not None and line.status == status

    until(reached, what=f"{job_id} {status}", timeout_s=timeout_s)
    line = line_of(registry, job_id)
    assert line is not None
    return line
