"""What jobs become, read from SLURM's own words. What a small cluster cannot produce is said by programs of the same names."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from services.inference.failures import StartError, UsageError
from services.inference.launchers.base import Server, State
from services.inference.launchers.slurm import SlurmLauncher
from services.inference.launchers.slurm_options import SlurmOptions
from services.inference.launchers.slurm_queue import Job, SlurmError, listed_jobs, shown_job
from services.inference.servers.registry import Registry
from tests.inference.listed import facts, inference, service
from tests.inference.slurm.conftest import program, vllm_launch

SHOWN = """JobId={id} JobName=assay-inference
   UserId=ana(1000) GroupId=ana(1000) MCS_label=N/A
   JobState={state} Reason={reason} Dependency=(null)
   Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 ExitCode={code}
   RunTime={run} TimeLimit={limit} TimeMin=N/A
   Command=(null)
   WorkDir=/home/ana
   StdErr={err}
   StdOut=/dev/null
   Power=
"""


def shown(job: str, state: str, **told: str) -> str:
    usual = {"reason": "None", "code": "0:0", "run": "00:00:09", "limit": "UNLIMITED", "err": "/x"}
    return SHOWN.format(id=job, state=state, **{**usual, **told})


@pytest.fixture
def cluster_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs before all others: `queue` is what squeue prints, `job.ID` what scontrol shows."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "queue").touch()
    program(folder, f"cat {folder}/queue").rename(folder / "squeue")
    program(
        folder,
        f'[ -e {folder}/job."$3" ] && exec cat {folder}/job."$3"; '
        "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
    ).rename(folder / "scontrol")
    program(folder, f'echo "$@" >> {folder}/cancelled').rename(folder / "scancel")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def server(job: str, log: Path | None = None) -> Server:
    return Server(id=job, engine="vllm", model="/m", served_name="m", host="", ip="", port=8000, log=log)


@pytest.mark.parametrize(
    ("job", "told", "standing", "sentence"),
    [
        ("901", ("OUT_OF_MEMORY", "OutOfMemory", "0:125"), "failed", "is OUT_OF_MEMORY for OutOfMemory, exit code 253"),
        ("902", ("NODE_FAIL", "NodeDown", "0:0"), "failed", "is NODE_FAIL for NodeDown"),
        ("903", ("PREEMPTED", "None", "0:15"), "failed", "is PREEMPTED, exit code 143"),
        ("904", ("BOOT_FAIL", "None", "0:0"), "failed", "is BOOT_FAIL"),
        ("905", ("DEADLINE", "DeadLine", "0:0"), "failed", "is DEADLINE for DeadLine"),
        ("906", ("FAILED", "NonZeroExitCode", "127:0"), "failed", "is FAILED, exit code 127"),
        ("907", ("CANCELLED", "None", "0:15"), "stopped", None),
        ("908", ("COMPLETED", "None", "0:0"), "stopped", None),
    ],
)
async def test_a_job_that_ended_stands_as_slurm_says_and_is_explained_when_it_failed(
    cluster_says: Path, job: str, told: tuple[str, str, str], standing: State, sentence: str | None
) -> None:
    state, reason, code = told
    (cluster_says / f"job.{job}").write_text(shown(job, state, reason=reason, code=code), encoding="utf-8")
    launcher = SlurmLauncher()

    assert await launcher.state([job]) == {job: standing}
    assert launcher.tail(server(job)) == (f"SLURM job {job} {sentence}" if sentence else "")


@pytest.mark.parametrize(
    ("row", "standing"),
    [
        ("PENDING|Resources", "starting"),
        ("PENDING|Priority", "starting"),
        ("PENDING|JobHeldUser", "starting"),
        ("CONFIGURING|None", "starting"),
        ("RUNNING|None", "running"),
        ("COMPLETING|None", "running"),
        ("SUSPENDED|None", "running"),
        ("PENDING|BadConstraints", "failed"),
        ("PENDING|PartitionTimeLimit", "failed"),
        ("PENDING|QOSMaxGRESPerJob", "failed"),
        ("PENDING|AssocMaxWallDurationPerJobLimit", "failed"),
        ("PENDING|launch failed requeued held", "failed"),
    ],
)
def test_a_job_in_the_queue_stands_by_its_state_and_by_whether_its_reason_can_end(row: str, standing: State) -> None:
    assert listed_jobs(f"12_3|{row}|a name | with bars\n\nnoise\n")["12_3"].standing == standing


async def test_a_state_that_was_seen_is_kept_when_slurm_forgets_the_job(cluster_says: Path) -> None:
    (cluster_says / "job.801").write_text(shown("801", "OUT_OF_MEMORY", code="0:125"), encoding="utf-8")
    (cluster_says / "queue").write_text("802|RUNNING|None|assay-inference\n", encoding="utf-8")
    assert await SlurmLauncher().state(["801", "802"]) == {"801": "failed", "802": "running"}

    (cluster_says / "job.801").unlink()
    (cluster_says / "queue").write_text("", encoding="utf-8")

    assert await SlurmLauncher().state(["801", "802", "803"]) == {"801": "failed", "802": "lost", "803": "lost"}


async def test_the_end_of_the_error_output_is_found_by_what_slurm_says_when_nobody_noted_it(
    cluster_says: Path, tmp_path: Path
) -> None:
    (tmp_path / "vllm_811_node7.err").write_text("".join(f"line {n}\n" for n in range(100)), encoding="utf-8")
    (cluster_says / "job.811").write_text(
        shown("811", "FAILED", code="1:0", err=f"{tmp_path}/vllm_811_%N.err"), encoding="utf-8"
    )
    launcher = SlurmLauncher()
    await launcher.state(["811"])

    assert launcher.tail(server("811")).splitlines() == [
        "SLURM job 811 is FAILED, exit code 1",
        *(f"line {n}" for n in range(60, 100)),
    ]


@pytest.mark.parametrize(
    ("run", "limit", "sentence"),
    [
        ("00:58:55", "01:00:00", "came to its time limit (FAILED): --time allows more"),
        ("1-23:59:30", "2-00:00:00", "came to its time limit (FAILED): --time allows more"),
        ("00:30:00", "01:00:00", "is FAILED, exit code 143"),
        ("99-00:00:00", "UNLIMITED", "is FAILED, exit code 143"),
    ],
)
def test_a_script_that_ended_at_the_warning_before_its_limit_came_to_its_limit(
    run: str, limit: str, sentence: str
) -> None:
    job = shown_job("5", shown("5", "FAILED", code="143:0", run=run, limit=limit))

    assert job.explained() == f"SLURM job 5 {sentence}"


async def test_nothing_is_called_lost_while_slurm_gives_no_answer(cluster_says: Path) -> None:
    program(cluster_says, "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1").rename(
        cluster_says / "squeue"
    )

    with pytest.raises(SlurmError, match="squeue: slurm_load_jobs error: Unable to contact slurm controller"):
        await SlurmLauncher().state(["821"])


async def test_a_machine_without_slurm_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(
        UsageError, match="squeue is not on PATH: SLURM jobs are started and watched from a submit host"
    ):
        await SlurmLauncher().state(["822"])


async def test_jobs_that_do_not_leave_the_queue_in_time_are_not_called_ended(cluster_says: Path) -> None:
    (cluster_says / "queue").write_text(
        "831|RUNNING|None|assay-inference\n832|RUNNING|None|someone-elses\n", encoding="utf-8"
    )

    assert await SlurmLauncher().stop(["831", "832", "833"], timeout_s=0) == []
    assert (cluster_says / "cancelled").read_text(encoding="utf-8") == "831\n"


def test_a_line_of_squeue_that_is_none_is_left_out() -> None:
    assert listed_jobs("1|RUNNING|None|x\nslurm is slow today\n") == {
        "1": Job(id="1", state="RUNNING", reason="None", name="x")
    }


def accepts(cluster_says: Path, job: str) -> None:
    program(cluster_says, f"cat > {cluster_says}/script; echo '{job};lab'").rename(cluster_says / "sbatch")


async def test_a_launch_with_auth_writes_a_key_that_only_we_can_read_and_notes_where(
    cluster_says: Path, tmp_path: Path
) -> None:
    accepts(cluster_says, "841")
    said: list[str] = []
    launch = replace(vllm_launch(tmp_path, count=2), says=said.append)

    servers = await SlurmLauncher(SlurmOptions(auth=True), forced=True).start(launch)

    (key_file,) = (tmp_path / "logs").glob("*.key")
    assert (key_file.stat().st_mode & 0o777, len(key_file.read_text(encoding="utf-8").strip())) == (0o600, 43)
    assert key_file.read_text(encoding="utf-8").strip() not in (cluster_says / "script").read_text(encoding="utf-8")
    facts = Registry(launch.registry).facts("841_1")
    assert facts is not None
    assert (facts.key_file, facts.served_name, facts.forced) == (str(key_file), "qwen3-32b", True)
    assert facts.command[facts.command.index("--port") + 1] == str(launch.start_port + 1)
    assert ([server.id for server in servers], said[1]) == (["841_0", "841_1"], f"clients need the key in {key_file}")


async def test_a_launch_warns_of_an_open_door_and_of_weights_that_nobody_has_fetched(
    cluster_says: Path, tmp_path: Path
) -> None:
    accepts(cluster_says, "842")
    said: list[str] = []

    launch = replace(vllm_launch(tmp_path), says=said.append)
    await SlurmLauncher().start(launch)
    pinned = replace(launch, serving=replace(launch.serving, revision="c0ffee"))
    await SlurmLauncher().start(pinned)

    assert said[1] == "whoever reaches the node can use the servers: --auth demands a key, where the engine knows one"
    assert said[2].startswith(
        "each job fetches what its cache lacks, and may get another commit: `hf download Qwen/Qwen3"
    )
    assert said[5].startswith("the jobs stay offline: first `hf download Qwen/Qwen3-32B --revision c0ffee`")


async def test_a_job_that_cannot_be_noted_is_cancelled_again(cluster_says: Path, tmp_path: Path) -> None:
    accepts(cluster_says, "843")
    (tmp_path / "services.txt.d").touch()

    with pytest.raises(UsageError, match=r"services\.txt\.d"):
        await SlurmLauncher().start(vllm_launch(tmp_path))

    assert (cluster_says / "cancelled").read_text(encoding="utf-8") == "843\n"


async def test_a_refused_launch_leaves_no_key(cluster_says: Path, tmp_path: Path) -> None:
    program(cluster_says, "echo 'sbatch: error: Invalid account' >&2; exit 1").rename(cluster_says / "sbatch")

    with pytest.raises(StartError, match="SLURM refused the job: sbatch: error: Invalid account"):
        await SlurmLauncher(SlurmOptions(auth=True)).start(vllm_launch(tmp_path))

    assert list((tmp_path / "logs").iterdir()) == []


async def test_who_is_told_to_stop_while_sbatch_answers_takes_the_job_back(cluster_says: Path, tmp_path: Path) -> None:
    os.mkfifo(cluster_says / "go")
    accepts(cluster_says, "844")
    answering = cluster_says / "sbatch"
    answering.write_text(answering.read_text().replace("echo '844", f"cat {cluster_says}/go; echo '844"))
    starting = asyncio.create_task(SlurmLauncher().start(vllm_launch(tmp_path)))
    going = await asyncio.to_thread((cluster_says / "go").open, "w")  # returns when sbatch is reading

    starting.cancel()
    await asyncio.sleep(0)
    going.close()

    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (cluster_says / "cancelled").read_text(encoding="utf-8") == "844\n"


def test_cancel_all_says_which_jobs_may_run_on_while_slurm_is_silent(
    cluster_says: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(cluster_says, "echo 'Unable to contact slurm controller' >&2; exit 1").rename(cluster_says / "squeue")
    monkeypatch.chdir(tmp_path)
    Registry(tmp_path / "services.txt").put(service("http://127.0.0.1:8000/v1", "845"), facts("845"))

    result = inference("cancel", "--all", "--force", "--json")

    assert (result.exit_code, json.loads(result.stdout)) == (1, {"ended": [], "left": ["845"]})
    assert "SLURM gave no answer about 845, so they may run on" in result.stderr
