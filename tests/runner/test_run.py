import json
import os
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from services.runner.failures import RunTimeoutError
from services.runner.journal import Journal
from services.runner.progress import listener_for
from services.runner.run import RunOptions, conclude
from tests.runner.support.mounts import read_only, small_disk
from tests.runner.support.processes import Stage, alive, await_line, await_true, make_stage
from tests.runner.support.rows import make_plan, make_row, make_run

KEYS = [trial.key for trial in make_plan(tasks=4).trials]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def gone(stage: Stage) -> None:
    await_true(lambda: not any(map(alive, stage.pids())), what="every agent is gone")
    assert len(stage.pids()) >= 2


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0" * 4096)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port that gives the same answer to everybody."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def only_result(stage: Stage) -> Any:
    document = stage.results_json()
    (result,) = document["results"]
    return document, result


def test_a_complete_run_ends_with_code_0_and_leaves_results_and_no_process(stage: Stage) -> None:
    done = stage.assay("run", "scenario.toml", "out.json")

    assert done.returncode == 0, done.stderr
    document, result = only_result(stage)
    assert document["status"] == "completed"
    assert document["participants"] == {"purple": "purple"}
    assert result["overall_score"]["score"] == 100.0
    assert [row["task_id"] for row in result["results"]] == [key.split("|")[1] for key in KEYS]
    assert result["evaluation_metadata"]["provenance"]["agents"]["green"]["name"] == "Scripted green"
    assert json.loads((stage.folder / "out.json").read_text()) == document
    assert done.stdout.splitlines()[-1].endswith("report.html")
    gone(stage)


def test_trials_that_could_not_be_scored_end_the_run_with_code_1_and_resume_repeats_only_those(stage: Stage) -> None:
    stage.script(tasks=4, outcomes={KEYS[2]: "infra_error", KEYS[5]: "agent_error"})
    first = stage.assay("run", "scenario.toml")
    stage.script(tasks=4)
    (stage.folder / "ran").unlink()

    second = stage.assay("resume", "latest")

    assert first.returncode == 1
    assert "Incomplete: 1 of 8 trials are not scored" in first.stdout
    assert second.returncode == 0, second.stderr
    assert stage.ran() == [KEYS[2]]
    assert only_result(stage)[1]["evaluation_metadata"]["outcomes"] == {"agent_error": 1, "scored": 7}


def test_a_run_whose_command_held_a_secret_is_not_resumed_with_a_mask_in_its_place(stage: Stage) -> None:
    run = make_run(make_plan(tasks=1))
    secret = "sk-" + "b" * 24
    purple = {"role": "purple", "cmd": f"python a.py --key {secret}", "endpoint": "http://127.0.0.1:9/"}
    journal = Journal.open(stage.results)
    journal.create_run(run.model_copy(update={"scenario": {**run.scenario, "participants": [purple]}}))
    journal.close()

    done = stage.assay("resume", "latest")

    assert done.returncode == 2
    assert "purple: its command, arguments or address held a secret, which is never stored" in done.stderr
    assert "run it anew with the secret in a variable" in done.stderr


async def test_time_that_is_up_when_every_trial_is_scored_costs_nothing(tmp_path: Path) -> None:
    run = make_run(make_plan(tasks=1))
    journal = Journal.open(tmp_path)
    journal.create_run(run)
    journal.record_all(run.id, [make_row(trial) for trial in run.plan.trials])
    options = RunOptions(results_dir=tmp_path, listener=listener_for(quiet=True))

    ended = await conclude(journal, run.id, options, RunTimeoutError("the 1 s given to the run have passed"))
    status = journal.run(run.id).status
    journal.close()

    assert (ended.exit_code, ended.error, status) == (0, None, "complete")


def test_resuming_a_complete_run_starts_nothing(stage: Stage) -> None:
    stage.assay("run", "scenario.toml")
    before = stage.pids()

    done = stage.assay("resume", "latest")

    assert done.returncode == 0
    assert "lacks nothing" in done.stderr
    assert stage.pids() == before


def test_the_runner_killed_loses_no_finished_trial_and_leaves_no_orphan(stage: Stage) -> None:
    stage.script(tasks=4, hold_after=3)
    with stage.started("run", "scenario.toml") as runner:
        await_line(runner, "[3/8]")
        runner.send_signal(signal.SIGKILL)
    gone(stage)
    listed = stage.assay("results", "list")
    stage.let_go()

    done = stage.assay("resume", "latest")

    assert "stopped" in listed.stdout
    assert "3/8" in listed.stdout
    assert done.returncode == 0, done.stderr
    assert stage.ran() == KEYS
    assert only_result(stage)[1]["evaluation_metadata"]["complete"] is True


def test_an_interrupt_cancels_greens_task_keeps_the_journal_and_ends_with_code_130(stage: Stage) -> None:
    stage.script(tasks=4, hold_after=3)
    with stage.started("run", "scenario.toml") as runner:
        await_line(runner, "[3/8]")
        runner.send_signal(signal.SIGINT)
        output, errors = runner.communicate(timeout=60)
    stage.script(tasks=4)

    assert runner.returncode == 130, errors
    assert "Incomplete: 5 of 8 trials are not scored" in output
    assert "`assay resume" in errors
    assert only_result(stage)[0]["status"] == "canceled"
    gone(stage)
    assert stage.assay("resume", "latest").returncode == 0
    assert stage.ran() == KEYS


def test_green_lost_in_the_middle_ends_with_code_3_and_can_be_resumed(stage: Stage) -> None:
    stage.script(tasks=4, hold_after=3)
    with stage.started("run", "scenario.toml") as runner:
        await_line(runner, "[3/8]")
        os.kill(stage.pid_of("green"), signal.SIGKILL)
        _, errors = runner.communicate(timeout=60)
    stage.script(tasks=4)

    resumed = stage.assay("resume", "latest")

    assert runner.returncode == 3
    assert "agent green was killed by signal 9" in errors or "green was lost" in errors
    assert resumed.returncode == 0, resumed.stderr
    assert stage.ran() == KEYS
    gone(stage)


def test_a_purple_that_dies_is_named_with_the_end_of_its_log(stage: Stage) -> None:
    stage.script(tasks=4, hold_after=2)
    with stage.started("run", "scenario.toml") as runner:
        await_line(runner, "[2/8]")
        os.kill(stage.pid_of("purple"), signal.SIGKILL)
        _, errors = runner.communicate(timeout=60)

    assert runner.returncode == 3
    assert "agent purple was killed by signal 9 during the run; the end of its log:" in errors
    assert "server_started" in errors
    gone(stage)


def test_a_changed_plan_is_refused_and_both_digests_are_named(stage: Stage) -> None:
    stage.script(tasks=4, seed=7, outcomes={KEYS[0]: "infra_error"})
    stage.assay("run", "scenario.toml")
    stage.script(tasks=4, seed=8)

    done = stage.assay("resume", "latest")

    assert done.returncode == 2
    assert make_plan(tasks=4, seed=7).digest in done.stderr
    assert make_plan(tasks=4, seed=8).digest in done.stderr
    assert len(stage.ran()) == 8


def test_a_run_that_was_isolated_is_isolated_again_when_it_is_resumed(stage: Stage) -> None:
    run = make_run(make_plan())
    journal = Journal.open(stage.results)
    journal.create_run(run.model_copy(update={"provenance": run.provenance | {"isolated": True}}))
    journal.close()

    done = stage.assay("resume", "latest")

    assert done.returncode == 2
    assert "--isolate needs containers: give purple, green an image" in done.stderr


def test_a_rejected_request_ends_with_code_2_and_greens_reasons(stage: Stage) -> None:
    stage.script(reject="config.num_tasks: far too many")

    done = stage.assay("run", "scenario.toml")

    assert done.returncode == 2
    assert "green rejected the request: config.num_tasks: far too many" in done.stderr
    assert [path.name for path in stage.results.iterdir()] == ["journal.db"]
    gone(stage)


def test_a_card_with_half_a_surrogate_pair_costs_no_run(stage: Stage) -> None:
    card = rb'{"name": "\ud800 odd", "version": "1", "description": "\udfff"}'
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(card), card)
    with answering(answer) as port:
        text = (stage.folder / "scenario.toml").read_text()
        before, config = text.split("[[participants]]")[0], text[text.index("[config]") :]
        odd = f'[[participants]]\nrole = "purple"\nendpoint = "http://127.0.0.1:{port}/"\n'
        (stage.folder / "scenario.toml").write_text(before + odd + config)
        done = stage.assay("run", "scenario.toml")

    assert done.returncode == 0, done.stderr
    assert only_result(stage)[1]["evaluation_metadata"]["provenance"]["agents"]["purple"]["name"] == "? odd"


def test_a_row_outside_the_plan_ends_the_run_instead_of_entering_it(stage: Stage) -> None:
    stage.script(tasks=4, strange_row=True)

    done = stage.assay("run", "scenario.toml")

    assert done.returncode == 3
    assert "alpha|stranger|0" in done.stderr
    journal = Journal.open(stage.results, create=False)
    assert journal.rows(journal.run("latest").id) == []
    journal.close()


def test_a_stranger_on_an_agents_port_is_an_error_and_survives(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        text = (stage.folder / "scenario.toml").read_text()
        head, tail = text.split("[[participants]]")
        old = tail.split("http://127.0.0.1:")[1].split('"')[0]
        (stage.folder / "scenario.toml").write_text(head + "[[participants]]" + tail.replace(old, str(port)))

        done = stage.assay("run", "scenario.toml")

        assert done.returncode == 3
        assert f"agent purple: port {port} of 127.0.0.1 is in use by another process" in done.stderr
        assert stage.pids() == []


def test_an_agent_that_ends_at_once_is_shown_with_the_last_forty_lines_of_its_log(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    (tmp_path / "loud.py").write_text("import sys\nfor n in range(100): print('line', n)\nsys.exit(7)\n")
    text = (tmp_path / "scenario.toml").read_text()
    (tmp_path / "scenario.toml").write_text(text.replace("-m tests.runner.support.purple", f"{tmp_path}/loud.py"))

    done = stage.assay("run", "scenario.toml")

    assert done.returncode == 3
    assert "agent purple ended with exit code 7 before it answered; the end of its log:\nline 60\n" in done.stderr
    assert "line 99" in done.stderr
    await_true(lambda: not any(map(alive, stage.pids())), what="green is gone as well")


def test_an_agent_that_never_answers_is_given_up_after_the_start_timeout(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    (tmp_path / "mute.py").write_text("import time\nprint('thinking', flush=True)\ntime.sleep(600)\n")
    text = (tmp_path / "scenario.toml").read_text()
    (tmp_path / "scenario.toml").write_text(text.replace("-m tests.runner.support.purple", f"{tmp_path}/mute.py"))

    done = stage.assay("run", "scenario.toml", "--start-timeout", "1.5")

    assert done.returncode == 3
    assert "agent purple did not start within 1.5 s: no card at http://127.0.0.1:" in done.stderr
    assert done.stderr.endswith("the end of its log:\nthinking\n")


def test_a_missing_variable_stops_the_run_before_anything_starts(tmp_path: Path) -> None:
    stage = make_stage(
        tmp_path, green_extra='env = { A = "${MISSING_ONE}" }', purple_extra='env = { B = "${MISSING_TWO:?get it}" }'
    )

    done = stage.assay("run", "scenario.toml")

    assert done.returncode == 2
    assert "purple: env B: variable MISSING_TWO is not set: get it" in done.stderr
    assert "green: env A: variable MISSING_ONE is not set" in done.stderr
    assert stage.pids() == []


def test_a_planted_secret_reaches_no_file_and_no_message(tmp_path: Path) -> None:
    secret = "planted-value-0123456789"
    table = 'env = { PLANTED_TOKEN = "${PLANTED}", PYTHONPATH = "${PYTHONPATH}", AGENT_PIDS = "${AGENT_PIDS}" }'
    stage = make_stage(tmp_path, green_extra=table)
    (tmp_path / ".env").write_text(f"PLANTED={secret}\n")
    stage.script(tasks=4, said=f"my token is {secret}")

    done = stage.assay("run", "scenario.toml", "--show-logs")

    assert done.returncode == 0, done.stderr
    assert "green | scripted green starts [redacted]" in done.stderr
    assert secret not in done.stdout + done.stderr
    kept = [path for folder in ("results", "logs") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert len(kept) >= 6
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []


def test_a_dry_run_prints_the_plan_and_stores_nothing(stage: Stage) -> None:
    done = stage.assay("run", "scenario.toml", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"plan {make_plan(tasks=4).digest}: 8 trials of 8 tasks")
    assert not stage.results.exists()
    assert stage.ran() == []
    gone(stage)


def test_results_that_cannot_be_written_end_with_code_1_and_the_journal_is_whole(stage: Stage) -> None:
    stage.script(tasks=4, hold_after=3)
    with stage.started("run", "scenario.toml") as runner:
        await_line(runner, "[3/8]")
        (folder,) = (path for path in stage.results.iterdir() if path.is_dir())
        with read_only(folder):
            stage.let_go()
            _, errors = runner.communicate(timeout=60)

    assert runner.returncode == 1
    assert f"cannot write results/{folder.name}/results.json (Read-only file system)" in errors
    assert stage.assay("report", "latest").returncode == 0
    assert only_result(stage)[1]["evaluation_metadata"]["complete"] is True


def test_a_results_folder_that_cannot_be_written_is_found_before_an_agent_starts(stage: Stage) -> None:
    stage.results.mkdir()
    with read_only(stage.results):
        done = stage.assay("run", "scenario.toml")

    assert done.returncode == 1
    assert "choose another --results-dir" in done.stderr
    assert stage.pids() == []


def test_a_disk_that_fills_up_ends_with_code_1_and_the_rest_is_resumed_on_a_larger_one(stage: Stage) -> None:
    stage.script(tasks=4, said="long answer " * 3_000, hold_after=3)
    stage.results.mkdir()
    with small_disk(stage.results, "2m"):
        with stage.started("run", "scenario.toml") as runner:
            await_line(runner, "[3/8]")
            filler = stage.results / "filler"
            fill(filler)
            stage.let_go()
            _, errors = runner.communicate(timeout=60)
        kept = len(stage.assay("results", "list").stdout)
        filler.unlink()
        resumed = stage.assay("resume", "latest")

        assert runner.returncode == 1
        assert "free space" in errors
        assert kept > 0
        assert resumed.returncode == 0, resumed.stderr
        assert only_result(stage)[1]["evaluation_metadata"]["complete"] is True
    gone(stage)


def test_shards_and_options_reach_the_request_and_wrong_ones_are_usage_errors(stage: Stage) -> None:
    assert stage.assay("run", "scenario.toml", "--shard", "3/3").returncode == 2
    assert stage.assay("run").returncode == 2
    assert stage.assay("run", "--green-url", "http://127.0.0.1:1").returncode == 2
    assert stage.assay("run", "absent.toml").returncode == 2
    assert stage.assay("resume", "latest").returncode == 1

    done = stage.assay("run", "scenario.toml", "--shard", "0/2", "--num-tasks", "5", "--json")

    assert json.loads(done.stdout)["exit_code"] == 0
    journal = Journal.open(stage.results, create=False)
    assert journal.run("latest").request["config"] == {"num_tasks": 5, "shard_index": 0, "num_shards": 2}
    journal.close()
