"""`wait` and `list` on real servers, most of them as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.inference.servers.registry import Registry, stamp
from tests.inference.listed import a_free_port, facts, inference, process, service, started
from tests.support.engine import INFERENCE, running_engine


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry at the default place of the commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSAY_REGISTRY", raising=False)
    return Registry(tmp_path / "services.txt")


# wait


def test_wait_ends_when_enough_servers_are_ready(registry: Registry) -> None:
    with running_engine() as one, running_engine() as two:
        registry.put(service(one.url, "1-a"))
        registry.put(service(two.url, "1-b", status="starting"))

        done = process("wait", "--min-healthy", "2", "--timeout", "20", "--check-interval", "0.2", "--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["enough"], found["ready"]) == (True, 2)
    assert {server["url"] for server in found["servers"]} == {one.url, two.url}


def test_wait_notices_a_server_that_registers_while_it_waits(registry: Registry) -> None:
    command = [*INFERENCE, "wait", "--timeout", "60", "--check-interval", "0.1"]
    with running_engine() as engine:
        registry.put(service(f"http://127.0.0.1:{a_free_port()}/v1", "late", status="starting"))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            assert "nothing accepts connections" in waiting.stderr.readline()
            registry.put(service(engine.url, "theirs-2"))
            out, _ = waiting.communicate(timeout=60)

    assert waiting.returncode == 0
    assert "theirs-2" in out


def test_wait_gives_up_in_time_with_the_state_of_each_server(registry: Registry) -> None:
    with running_engine("hang") as engine:
        registry.put(service(engine.url))
        done = process("wait", "--timeout", "1", "--check-interval", "0.2")

    port = engine.root.rpartition(":")[2]
    assert done.returncode == 4
    assert f"port {port} is alive but not generating" in done.stdout
    assert "0 of 1 servers ready in services.txt: not ready within 1 s" in done.stderr


def test_wait_fails_at_once_with_the_log_of_a_server_that_died(registry: Registry, tmp_path: Path) -> None:
    log = tmp_path / "engine.err"
    log.write_text("ValueError: no such checkpoint\n")
    with started(tmp_path) as server:
        registry.put(server.line, facts(server.line.job_id, log=log))
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()

        done = process("wait", "--timeout", "600", "--check-interval", "300")

    assert done.returncode == 4
    assert f"the end of the log of {server.line.job_id}:\nValueError: no such checkpoint" in done.stdout
    assert "stopped (lost)" in done.stdout
    assert "1 failed" in done.stderr


def test_wait_fails_at_once_when_a_server_serves_another_model(registry: Registry) -> None:
    with running_engine() as engine:
        registry.put(service(engine.url, model="Qwen/Qwen3-32B"))
        result = inference("wait", "--timeout", "600", "--check-interval", "300")

    assert result.exit_code == 4
    assert "answers, but it serves reference, not Qwen/Qwen3-32B" in result.output


def test_wait_looks_only_at_the_model_that_was_asked_for(registry: Registry) -> None:
    with running_engine() as engine:
        registry.put(service(engine.url))
        result = inference("wait", "--timeout", "0", "--model", "other")

    assert result.exit_code == 4
    assert "0 of 1 servers of 'other' ready" in result.output


def test_a_registry_of_yesterday_does_not_end_the_wait(registry: Registry) -> None:
    yesterday = service("http://127.0.0.1:1/v1", "1", status="stopped")
    registry.put(replace(yesterday, end_time="0", exit_code="1"))

    result = inference("wait", "--timeout", "0.3", "--check-interval", "0.1")

    assert result.exit_code == 4
    assert "not ready within 0.3 s" in result.output


def test_a_job_that_was_cancelled_before_is_no_failure(registry: Registry, tmp_path: Path) -> None:
    """The script of a job writes 143 when it is told to end."""
    log = tmp_path / "engine.err"
    log.write_text("words of yesterday\n")
    registry.put(replace(service("http://127.0.0.1:1/v1", "7", status="stopped"), exit_code="143"), facts("7", log=log))

    result = inference("wait", "--timeout", "0.3", "--check-interval", "0.1")

    assert result.exit_code == 4
    assert "not ready within 0.3 s" in result.output
    assert "words of yesterday" not in result.output


def test_wait_reads_what_the_engine_of_a_job_measured_and_warns_when_the_plan_was_wrong(
    registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "vllm_7_n1.out").write_text("vLLM API server version 0.33.0\nGPU KV cache size: 1,234 tokens\n")
    noted = facts("7", log=tmp_path / "vllm_7_%N.err").model_copy(
        update={"engine": "vllm", "version": None, "output": f"{tmp_path}/vllm_7_%N.out", "kv_planned_tokens": (10, 20)}
    )
    with running_engine() as engine:
        registry.put(service(engine.url, "7"), noted)
        first, again = [inference("wait", "--timeout", "20") for _ in range(2)]

    known = registry.facts("7")
    assert known is not None
    assert (known.version, known.kv_measured_tokens, first.exit_code) == ("0.33.0", 1234, 0)
    assert "warning: 7: the engine's KV cache holds 1234 tokens, and the plan foretold 10 to 20" in first.output
    assert "warning: 7" not in again.output


# list


def test_list_shows_what_is_known_and_marks_the_dead(registry: Registry, tmp_path: Path) -> None:
    with started(tmp_path) as alive:
        dead = replace(alive.line, job_id="local-1-1", port=a_free_port())
        for line in (alive.line, dead, replace(dead, job_id="theirs-7")):
            registry.put(line, facts(line.job_id) if line.job_id.startswith("local") else None)

        found = json.loads(process("list", "--json").stdout)["servers"]
        shown = inference("list").output

    assert [(row["id"], row["state"], row["exit_code"]) for row in found] == [
        (alive.line.job_id, "running", ""),
        ("local-1-1", "stopped", "lost"),
        ("theirs-7", "running", ""),
    ]
    assert [(row["engine"], row["version"], row["url"]) for row in found][::2] == [
        ("reference", "0.1", alive.line.url),
        ("", "", f"http://127.0.0.1:{dead.port}/v1"),
    ]
    assert "|stopped||lost\n" in registry.path.read_text()
    assert shown.splitlines()[0].split() == ["ID", "ENGINE", "VERSION", "MODEL", "URL", "STATE", "AGE", "GPUS"]
    assert "5 min" in shown
    assert "stopped (lost)" in shown


def test_a_process_of_another_machine_is_never_called_dead(registry: Registry) -> None:
    line = replace(service("http://127.0.0.1:1/v1", "local-1-1"), hostname="another-machine")
    registry.put(line)

    found = json.loads(inference("list", "--json").output)["servers"]

    assert [row["state"] for row in found] == ["running"]
    assert list(registry.lines()) == [line]


def test_a_job_that_slurm_says_nothing_about_is_not_called_dead(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    line = service("http://127.0.0.1:1/v1", "123_0")
    registry.put(line)

    done = process("list", "--json")

    assert [row["state"] for row in json.loads(done.stdout)["servers"]] == ["running"]
    assert "slurm servers are shown as the registry has them" in done.stderr
    assert list(registry.lines()) == [line]


def test_whoever_cannot_write_the_registry_is_told_the_truth_all_the_same(registry: Registry, tmp_path: Path) -> None:
    registry.put(service("http://127.0.0.1:1/v1", "local-1-1"))
    (tmp_path / "services.txt.lock").unlink()
    (tmp_path / "services.txt.lock").mkdir()

    result = inference("list")

    assert result.exit_code == 0
    assert "stopped (lost)" in result.output
    assert "the dead are still listed as alive in the file" in result.output


SMI = """#!/bin/sh
case "$1" in
  --query-gpu=*) echo "0, GPU-a, NVIDIA H100 80GB HBM3, 81559, 551, 40960, 9.0";;
  *) echo "GPU-a, 4711, python, 40960";;
esac
"""


def test_list_shows_who_uses_the_gpus(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    with started(tmp_path) as server:
        registry.put(server.line, facts(server.line.job_id).model_copy(update={"gpus": ("GPU-a",)}))
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        shown, found = inference("list", "--gpus"), json.loads(inference("list", "--gpus", "--json").output)
    monkeypatch.setenv("PATH", "/nowhere")
    without = inference("list", "--gpus")

    assert f"{server.line.job_id}, 4711 python 40.0 GiB" in shown.output
    assert "40.0 of 79.1 GiB" in shown.output
    assert [gpu["servers"] for gpu in found["gpus"]] == [[server.line.job_id]]
    assert without.exit_code == 0
    assert "no GPU is shown: nvidia-smi was not found" in without.output


def test_prune_removes_old_ends_with_their_logs_and_keeps_the_rest(registry: Registry, tmp_path: Path) -> None:
    url, old = "http://127.0.0.1:1/v1", stamp(datetime.now(UTC) - timedelta(days=9))
    ended = replace(service(url, status="stopped"), end_time=old, exit_code="0")
    lost = replace(ended, job_id="local-2-2", start_time=old, end_time="", exit_code="lost")
    fresh = replace(ended, job_id="local-3-3", end_time=stamp(datetime.now(UTC)))
    unreadable = replace(ended, job_id="local-4-4", end_time="soon", start_time="later")
    foreign = replace(ended, job_id="theirs-5", status="draining")
    logs = {name: tmp_path / f"{name}.err" for name in ("local-1-1", "local-3-3")}
    for line in (replace(ended, job_id="local-1-1"), lost, fresh, unreadable, foreign):
        registry.put(line, facts(line.job_id, log=logs.get(line.job_id)) if "local" in line.job_id else None)
    for log in logs.values():
        log.write_text("x")

    result = inference("list", "--prune", "7", "--json")

    assert json.loads(result.output)["removed"] == ["local-1-1", "local-2-2"]
    assert [line.job_id for line in registry.lines()] == ["local-3-3", "local-4-4", "theirs-5"]
    assert registry.noted() == ["local-3-3", "local-4-4"]
    assert [log.exists() for log in logs.values()] == [False, True]


def test_prune_removes_the_logs_of_jobs_whose_names_hold_the_node(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "100%N"
    folder.mkdir()
    noted = str(folder).replace("%", "%%") + "/vllm_7_%N"
    registry.put(replace(service("http://127.0.0.1:1/v1", "7", status="stopped"), end_time="0", exit_code="0"))
    registry.note(facts("7").model_copy(update={"log": f"{noted}.err", "output": f"{noted}.out"}))
    names = ("vllm_7_n1.err", "vllm_7_n2.err", "vllm_7_n2.out", "vllm_77_n1.err", "vllm_7_%N.txt")
    for name in names:
        (folder / name).touch()

    inference("list", "--prune", "7")

    assert [name for name in names if (folder / name).exists()] == ["vllm_77_n1.err", "vllm_7_%N.txt"]


def test_names_that_others_wrote_command_no_terminal(registry: Registry) -> None:
    registry.path.write_bytes(b"9|h|10.0.0.1|80|/m/\x1b[2J\xe9\tx|now|stopped\n")

    listed, waited = process("list"), process("wait", "--timeout", "0")

    assert (listed.returncode, waited.returncode) == (0, 4)
    for shown in (listed.stdout, waited.stdout):
        assert "/m/ [2J  x" in shown or "/m/ [2J x" in shown
        assert "\x1b" not in shown


def test_the_registry_is_named_by_option_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Registry(tmp_path / "one.txt").put(service("http://127.0.0.1:1/v1", "theirs-1"))
    Registry(tmp_path / "two.txt").put(service("http://127.0.0.1:1/v1", "theirs-2"))
    monkeypatch.setenv("ASSAY_REGISTRY", str(tmp_path / "one.txt"))

    assert "theirs-1" in inference("list").output
    assert "theirs-2" in inference("list", "--registry", str(tmp_path / "two.txt")).output


def test_list_without_servers_says_so(registry: Registry) -> None:
    result = inference("list")

    assert (result.exit_code, result.output) == (0, "services.txt lists no server\n")
