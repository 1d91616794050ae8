import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.runner.cli import main
from services.runner.journal import Journal
from services.runner.purples.swapping import copy_for
from services.runner.scenario import Scenario
from tests.runner.support.processes import (
    ROOT,
    Stage,
    alive,
    await_line,
    await_true,
    free_ports,
    make_stage,
)
from tests.runner.support.rows import make_plan

PURPLE = f"{sys.executable} -m tests.runner.support.purple --port {{port}}"
KEYS = [trial.key for trial in make_plan(tasks=2).trials]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A scenario of two purples, a and b, with four trials each."""
    made = make_stage(tmp_path)
    (port,) = free_ports(1)
    second = f"""
        [[participants]]
        role = "b"
        endpoint = "http://127.0.0.1:{port}"
        cmd = "python -m tests.runner.support.purple --port {port}"
        [config]"""
    path = tmp_path / "scenario.toml"
    path.write_text(path.read_text().replace("[config]", second).replace('role = "purple"', 'role = "a"'))
    made.script(tasks=2)
    return made


def runs(stage: Stage) -> dict[str, tuple[str, str]]:
    """Purple to its run's id and status; each run has one purple."""
    journal = Journal.open(stage.results, create=False)
    found = {}
    for summary in journal.runs():
        (purple,) = Scenario.model_validate(journal.run(summary.id).scenario).participants
        found[purple.role] = (summary.id, str(summary.status))
    journal.close()
    return found


@contextmanager
def running_green(stage: Stage) -> Iterator[str]:
    """A scripted green that somebody else started."""
    ready = stage.folder / "green.url"
    command = [sys.executable, "-m", "tests.runner.support.green", "--ready-file", str(ready)]
    with subprocess.Popen(
        [*command, "--script", str(stage.folder / "script.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "AGENT_PIDS": os.devnull},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as green:
        try:
            await_true(ready.exists, what="green is there")
            yield ready.read_text().strip()
        finally:
            green.kill()  # a request whose asker was killed holds its orderly end up


def started_by_url(url: str, *more: str) -> Sequence[str]:
    return ("run", "--green-url", url, "--purple", f"a={PURPLE}", "--purple", f"b={PURPLE}", *more)


def refused(stage: Stage, *arguments: str) -> Result:
    """The command within this process: it ends before it starts anything."""
    with chdir(stage.folder):
        return CliRunner().invoke(main, arguments)


def await_kept(runner: subprocess.Popen[str], *lines: str) -> None:
    """Wait until trials are in the journal, of which the runner tells in no order."""
    assert runner.stderr is not None
    missing = set(lines)
    while missing:
        told = runner.stderr.readline()
        assert told, f"never came: {missing}"
        missing -= {line for line in missing if told.startswith(line)}


def nothing_left(stage: Stage, *, started: int) -> None:
    await_true(lambda: not any(map(alive, stage.pids())), what="every agent is gone")
    assert len(stage.pids()) == started


def test_two_purples_of_a_file_are_two_runs_on_one_plan_and_are_compared(stage: Stage) -> None:
    done = stage.assay("run", "scenario.toml", "out.json")

    assert done.returncode == 0, done.stderr
    assert {role: status for role, (_, status) in runs(stage).items()} == {"a": "complete", "b": "complete"}
    documents = {role: json.loads((stage.folder / f"out-{role}.json").read_text()) for role in "ab"}
    assert [documents[role]["participants"] for role in "ab"] == [{"a": "a"}, {"b": "b"}]
    digests = {document["results"][0]["evaluation_metadata"]["plan_digest"] for document in documents.values()}
    assert digests == {make_plan(tasks=2).digest}
    assert re.search(r"^overall +a +100\.0 .* 4/4$", done.stdout, re.MULTILINE)
    assert re.search(r"^overall +b +100\.0 .* 4/4$", done.stdout, re.MULTILINE)
    assert re.search(r"^a - b +all tasks +\+0\.0 +unknown +0/0 +4 +0$", done.stdout, re.MULTILINE)
    assert "3 differences of 1 pair were looked at" in done.stdout
    nothing_left(stage, started=4)


def test_a_purple_that_does_not_start_costs_the_others_nothing_and_the_exit_code_is_the_worst(stage: Stage) -> None:
    stage.script(tasks=2, outcomes={KEYS[0]: "infra_error"})

    done = stage.assay("run", "scenario.toml", "--purple", "x=sh -c 'exit 7'", "--purple", f"y={PURPLE}", "--json")

    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == 3
    assert [(run["purple"], run["exit_code"]) for run in told["runs"]] == [("x", 3), ("y", 1)]
    assert told["runs"][0]["run"] is None
    assert "agent x ended with exit code 7 before it answered" in told["runs"][0]["error"]
    assert f"`assay resume {told['runs'][1]['run']}` runs what is missing" in done.stderr
    assert told["not_compared"] == ["x has no run"]
    assert told["comparisons"] == []
    nothing_left(stage, started=2)


def test_an_interrupt_ends_the_purple_that_runs_and_begins_no_other(stage: Stage) -> None:
    stage.script(tasks=2, hold_after=2)
    with stage.started("run", "scenario.toml") as runner:
        await_line(runner, "[2/4]")
        runner.send_signal(signal.SIGINT)
        output, errors = runner.communicate(timeout=60)

    assert runner.returncode == 130
    assert "b was not begun: interrupted" in errors
    assert "Incomplete: 2 of 4 trials are not scored" in output
    assert {role: status for role, (_, status) in runs(stage).items()} == {"a": "interrupted"}
    nothing_left(stage, started=2)


@pytest.mark.parametrize(
    ("number", "code", "status"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGKILL, -signal.SIGKILL, "running")]
)
def test_a_signal_ends_all_purples_that_run_at_once_and_each_can_be_resumed(
    stage: Stage, number: signal.Signals, code: int, status: str
) -> None:
    stage.script(tasks=2, hold_after=2)
    with running_green(stage) as url:
        with stage.started(*started_by_url(url, "--parallel-purples", "2")) as runner:
            await_kept(runner, "a: [2/4]", "b: [2/4]")
            runner.send_signal(number)
            runner.communicate(timeout=60)
        stopped = runs(stage)
        nothing_left(stage, started=2)
        stage.script(tasks=2)
        resumed = [stage.assay("resume", run_id).returncode for run_id, _ in stopped.values()]

    assert runner.returncode == code
    assert {role: status for role, (_, status) in stopped.items()} == dict.fromkeys("ab", status)
    assert resumed == [0, 0]
    assert sorted(stage.ran()) == sorted([*KEYS, *KEYS])
    nothing_left(stage, started=4)


def test_an_interrupt_while_agents_start_leaves_none_and_ends_with_code_130(stage: Stage) -> None:
    (stage.folder / "mute.py").write_text(
        "import time\nfrom tests.runner.support.purple import note_pid\n"
        "note_pid()\nprint('mute', flush=True)\ntime.sleep(600)\n"
    )
    with stage.started(
        "run", "scenario.toml", "--purple", "m=python mute.py", "--purple", PURPLE, "--show-logs"
    ) as runner:
        await_line(runner, "m | mute")
        runner.send_signal(signal.SIGTERM)
        _, errors = runner.communicate(timeout=60)

    assert runner.returncode == 130
    assert "m was interrupted" in errors
    await_true(lambda: not any(map(alive, stage.pids())), what="every agent is gone")
    assert stage.pids() != []


def test_green_with_a_port_of_its_own_is_refused_for_several_at_once(stage: Stage) -> None:
    done = refused(stage, "run", "scenario.toml", "--parallel-purples", "2")

    assert done.exit_code == 2
    assert "only one can listen at http://127.0.0.1:" in done.stderr
    assert "start it yourself and leave `cmd` out" in done.stderr
    assert stage.pids() == []


def test_whatever_is_wrong_with_any_of_them_is_said_before_one_starts(stage: Stage) -> None:
    asked = ["--purple-env", "a:MISSING_ONE", "--purple-env", "b:MISSING_TWO"]

    done = refused(stage, "run", "scenario.toml", "--purple", f"a={PURPLE}", "--purple", f"b={PURPLE}", *asked)

    assert done.exit_code == 2
    assert "a: env MISSING_ONE: variable MISSING_ONE is not set" in done.stderr
    assert "b: env MISSING_TWO: variable MISSING_TWO is not set" in done.stderr
    assert stage.pids() == []


def test_a_dry_run_of_several_starts_each_and_prints_their_plan_once(stage: Stage) -> None:
    done = stage.assay("run", "scenario.toml", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(f"plan {make_plan(tasks=2).digest}: 4 trials")
    assert done.stdout.count("plan ") == 1
    assert done.stdout.splitlines()[-1] == "  for a, b"
    nothing_left(stage, started=4)


def test_serving_several_keeps_them_all_beside_one_green(stage: Stage) -> None:
    with stage.started("run", "scenario.toml", "--serve-only") as serving:
        await_line(serving, "green is at")
        there = [alive(pid) for pid in stage.pids()]
        serving.terminate()
        serving.communicate(timeout=60)

    assert there == [True, True, True]
    nothing_left(stage, started=3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--purple", "x=y", "--purple-url", "http://h/"), "give --purple or --purple-url, not both"),
        (("scenario.toml", "--purple-env", "A=1"), "--purple-env is for the agents of --purple"),
        (("scenario.toml", "--purple", PURPLE, "--parallel-purples", "2"), "--parallel-purples has no effect here"),
        (("scenario.toml", "--isolate"), "--isolate needs containers: give a, green an image"),
        (("--green-url", "http://127.0.0.1:9/", "--purple", "http://localhost:9"), "an agent cannot examine itself"),
    ],
)
def test_options_that_contradict_each_other_are_refused(stage: Stage, arguments: Sequence[str], reason: str) -> None:
    done = refused(stage, "run", *arguments)

    assert done.exit_code == 2
    assert reason in " ".join(done.stderr.split())
    assert stage.pids() == []


def test_each_of_several_has_a_results_file_by_its_name() -> None:
    assert copy_for(Path("out/results.json"), "agent-b") == Path("out/results-agent-b.json")
    assert copy_for(Path("results"), "b") == Path("results-b")
