"""From `inference up --launcher slurm` to a run and to an empty queue, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.inference.slurm.conftest import free_port, program
from tests.support.processes import BIN, service
from tests.support.slurm import Cluster, slurm, until

pytestmark = pytest.mark.slurm

TASKS = 4


def inference(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "inference"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def up(folder: Path, *options: str) -> list[str]:
    """Submits reference engines; gives the ids."""
    port = str(free_port())
    done = inference(folder, "up", "reference", "--launcher", "slurm", "--start-port", port, "--json", *options)
    assert done.returncode == 0, done.stderr
    return [server["id"] for server in json.loads(done.stdout)]


def exported(folder: Path) -> dict[str, str]:
    """The environment after `eval "$(inference export)"`."""
    names = ("OPENAI_API_BASE", "SGLANG_API_BASES", "OPENAI_BASE_URL", "LLM_MODEL", "OPENAI_API_KEY")
    script = f'set -e; eval "$({BIN}/inference export)"; printf "%s\\n" ' + " ".join(f'"${name}"' for name in names)
    env = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.splitlines(), strict=True))


def run(folder: Path, env: dict[str, str]) -> float:
    """Coverage of an assessment of the agent that calls a model, with these variables."""
    with (
        service(["purple-agent", "serve", "--max-tool-calls", "0"], env=env) as purple,
        service(["green-agent", "serve"]) as green,
    ):
        scenario = folder / "scenario.toml"
        scenario.write_text(
            f'[green_agent]\nendpoint = "{green.url}"\n'
            f'[[participants]]\nrole = "agent"\nendpoint = "{purple.url}"\n'
            f'[config]\ndatasets = ["options"]\nnum_tasks = {TASKS}\n',
            encoding="utf-8",
        )
        command = [str(BIN / "assay"), "run", str(scenario), "--json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    coverage: float = json.loads(done.stdout)["overall_score"]["coverage"]
    return coverage


def test_two_servers_are_awaited_examined_used_by_a_run_and_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    ids = up(tmp_path, "--num-services", "2")
    waited = inference(tmp_path, "wait", "--min-healthy", "2", "--check-interval", "0.2", "--timeout", "60")
    assert waited.returncode == 0, waited.stdout + waited.stderr
    assert inference(tmp_path, "health").returncode == 0
    doctor = inference(tmp_path, "doctor")
    assert doctor.returncode == 0, doctor.stdout

    env = exported(tmp_path)
    urls = env["OPENAI_API_BASE"].split(",")
    assert (len(urls), env["LLM_MODEL"], env["OPENAI_API_KEY"]) == (2, "reference", "none")
    assert run(tmp_path, env) == 1.0
    processes = [pid for job_id in ids for pid in pids_of(cluster, job_id)]
    assert len(processes) >= 4  # a script and an engine each

    slurm("scancel", ids[0])
    until(lambda: ids[0] not in cluster.queue(), what="the end of the first")
    (left,) = inference(tmp_path, "urls").stdout.split()
    assert left in urls
    assert exported(tmp_path)["SGLANG_API_BASES"] == left

    cancelled = inference(tmp_path, "cancel", "--all", "--force")
    assert cancelled.returncode == 0, cancelled.stderr
    assert not set(ids) & set(cluster.queue())
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), what="the end of every process")
    assert inference(tmp_path, "urls").returncode == 4


def test_wait_ends_at_once_with_the_last_words_of_a_server_that_died(cluster: Cluster, tmp_path: Path) -> None:
    broken = program(tmp_path, "echo 'ValueError: no such parser' >&2; exit 3")
    (job,) = up(tmp_path, "--program", str(broken))

    waited = inference(tmp_path, "wait", "--check-interval", "0.2", "--timeout", "600")

    assert waited.returncode == 4
    assert "ValueError: no such parser" in waited.stdout
    assert job not in cluster.queue()


def test_wait_ends_at_once_for_a_job_that_no_node_can_hold(cluster: Cluster, tmp_path: Path) -> None:
    (job,) = up(tmp_path, "--cpus-per-task", "64")

    waited = inference(tmp_path, "wait", "--check-interval", "0.2", "--timeout", "600")

    assert waited.returncode == 4
    assert f"SLURM job {job} is PENDING for PartitionConfig, which never ends" in waited.stdout
    cancelled = inference(tmp_path, "cancel", "--all", "--force")
    assert (cancelled.returncode, cancelled.stdout) == (0, f"ended {job}\n")
    assert job not in cluster.queue()
    assert inference(tmp_path, "cancel", "--all", "--force").stdout == "nothing of services.txt had to be ended\n"


def pids_of(cluster: Cluster, job_id: str) -> list[int]:
    """Processes of a running job."""
    job = cluster.job(job_id)
    rows = slurm("scontrol", "listpids", job["JobId"], job["NodeList"]).splitlines()[1:]
    return [pid for row in rows if (pid := int(row.split()[0])) > 0]
