"""`assay evaluate` on a real SLURM: servers as jobs, and the whole command as one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_evaluate import launched, needs_imobench
from tests.support.peer_files import MIRROR
from tests.support.processes import BIN
from tests.support.slurm import Cluster, missing_programs, running_cluster, until

pytestmark = [pytest.mark.slurm, needs_imobench]
LINE = ["evaluate", "--model-path", "reference", "--num-services", "1", "--benchmarks", "imobench", "--num-tasks", "1"]
LINE += ["--strategies", "baseline", "--cleanup", "--no-doctor", "--output-dir", "out", "--json"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if (reason := missing_programs()) is not None:
        pytest.skip(reason)
    with running_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def assay(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ASSAY_DATA_FROM": str(MIRROR)}
    line = [str(BIN / "assay"), *arguments]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_servers_are_jobs_that_end_with_the_evaluation(cluster: Cluster, tmp_path: Path) -> None:
    done = assay(tmp_path, *LINE, "--launcher", "slurm", "--up-options", "--partition main --mem 500M")

    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    (server,) = launched(tmp_path / "out", run["run"])["servers"]
    assert cluster.job(server["id"])["JobState"] == "CANCELLED"
    assert cluster.queue() == {}


def test_the_command_itself_is_a_job(cluster: Cluster, tmp_path: Path) -> None:
    submitted = assay(tmp_path, *LINE, "--submit", "--sbatch-arg=--mem=1500M")

    assert submitted.returncode == 0, submitted.stderr
    told = json.loads(submitted.stdout)
    until(lambda: not cluster.queue(), what="the job has ended", timeout_s=90)
    said = Path(told["output"]).read_text(encoding="utf-8")
    assert cluster.job(told["job"])["JobState"] == "COMPLETED", said
    assert [run["exit_code"] for run in json.loads(said[said.index("{\n") :])["runs"]] == [0]
