"""Servers that start, are used, and end with whoever started them. Every process and every port is real."""

import json
import os
import shlex
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from services.inference.machine.ports import is_free, start_ticks
from tests.inference.local.machine import INFERENCE, Machine, await_true, free_port


def ready(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """The servers that `up --json` prints once all are ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    servers: list[dict[str, object]] = json.loads(line)
    return servers


def identity(server: dict[str, Any]) -> int:
    """Its process."""
    return int(server["id"].split("-")[1])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ports(servers: list[dict[str, object]]) -> list[int]:
    return [int(str(server["port"])) for server in servers]


def test_two_reference_engines_answer_stand_in_the_registry_and_end_with_ctrl_c(box: Machine) -> None:
    words = ("up", "reference", "--num-servers", "2", "--start-port", str(free_port()), "--json")
    with box.started(*words, "--fault", "429:times=1") as process:
        servers = ready(process)
        assert box.states() == ["running", "running"]
        assert len(box.servers()) == 2
        with urllib.request.urlopen(f"{servers[1]['url']}/models", timeout=10) as answer:
            assert [model["id"] for model in json.load(answer)["data"]] == ["reference"]

        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 130
        assert box.states() == ["stopped", "stopped"]
        assert box.servers() == []
        assert all(is_free(port) for port in ports(servers))
        assert process.stderr is not None
        logs = [Path(line.partition(", log ")[2]) for line in process.stderr.read().splitlines() if ", log " in line]
        assert [path.exists() for path in logs] == [True, True]
    command = json.loads((box.folder / "services.txt.d" / f"{servers[0]['id']}.json").read_text())["command"]
    assert command[-2:] == ["--fault", "429:times=1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_and_no_port_is_left_after(box: Machine, number: signal.Signals) -> None:
    box.engine("subprocess.Popen([sys.executable, '-c', 'import os, time; os.setsid(); time.sleep(600)'])")
    words = ("--gpu", "cpu", "--no-tools", "--start-port", str(free_port()), "--json")
    with box.started("up", box.checkpoint(), *words) as process:
        servers = ready(process)
        (server,) = box.servers()
        helpers = children(server)

        process.send_signal(number)

        assert process.wait(60) == (-9 if number == signal.SIGKILL else 130)
        await_true(lambda: not box.servers(), what="the server is gone")
        await_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in helpers), what="its child is gone")
        await_true(lambda: all(is_free(port) for port in ports(servers)), what="the port is free")
    assert len(helpers) == 1


def test_no_process_and_no_port_is_left_after_an_exception(box: Machine) -> None:
    """Whoever should read what is printed has gone: to print the servers raises."""
    box.engine()
    words = ("--gpu", "cpu", "--no-tools", "--start-port", str(free_port()))
    with box.started("up", box.checkpoint(), *words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        assert process.wait(60) == 1

        said = process.stderr.read()
        assert "ready: tiny at http://127.0.0.1:" in said
        assert box.states() == ["stopped"]
        assert box.servers() == []
        assert is_free(int(said.partition("ready: ")[2].partition("/v1")[0].rpartition(":")[2]))


def test_a_port_of_a_strangers_server_is_skipped_aloud_and_refused_when_strict(box: Machine) -> None:
    box.engine()
    port = free_port()
    stranger = subprocess.Popen(
        [INFERENCE.with_name("python"), "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await_true(lambda: not is_free(port), what="the stranger listens")
        words = ("up", box.checkpoint(), "--gpu", "cpu", "--no-tools", "--start-port", str(port))
        with box.started(*words, "--json") as process:
            servers = ready(process)
            process.terminate()
            _, said = process.communicate(timeout=60)
        strict = box.say(*words, "--strict-ports")

        assert min(ports(servers)) > port
        assert f"port {port} is taken by process {stranger.pid} (" in said
        assert "http.server" in said
        assert strict.returncode == 2
        assert f"port {port} is taken by process {stranger.pid}" in strict.stderr
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def detached(box: Machine) -> dict[str, Any]:
    """A server that goes on after its command."""
    words = ("--gpu", "cpu", "--no-tools", "--detach", "--start-port", str(free_port()), "--json")
    started = box.run("up", box.checkpoint(), *words)
    assert started.returncode == 0, started.stderr
    (server,) = json.loads(started.stdout)
    return dict(server)


def test_a_detached_server_outlives_its_command_until_down_ends_it(box: Machine) -> None:
    box.engine()
    box.env.update({"VLLM_BATCH_INVARIANT": "1", "VLLM_API_" + "KEY": "nobody's business", "EDITOR": "vi"})
    server = detached(box)
    try:
        assert len(box.servers()) == 1
        assert box.states() == ["running"]
        unnamed = box.say("down")
        assert (unnamed.returncode, "pass --all" in unnamed.stderr) == (2, True)
    finally:
        stopped = box.say("down", server["id"], "--json")

    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(stopped.stdout) == {"ended": [server["id"]], "left": []}
    assert box.servers() == []
    assert box.states() == ["stopped"]
    assert is_free(server["port"])
    again = box.say("down", "--all")
    assert (again.returncode, again.stdout) == (0, "no server of this registry runs on this machine\n")
    facts = json.loads((box.folder / "services.txt.d" / f"{server['id']}.json").read_text())
    recorded = facts["environment"]
    assert (recorded["VLLM_BATCH_INVARIANT"], recorded["HF_HUB_OFFLINE"]) == ("1", "1")
    assert not {"VLLM_API_KEY", "EDITOR"} & set(recorded)


def test_what_a_detached_server_leaves_behind_when_it_is_killed_is_ended_by_its_guard(box: Machine) -> None:
    box.engine("subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])")
    server = identity(detached(box))
    (worker,) = children(server)

    os.kill(server, signal.SIGKILL)

    await_true(lambda: start_ticks(worker) is None, what="its worker is gone")


def test_what_a_server_leaves_behind_without_a_guard_is_found_by_down(box: Machine) -> None:
    """As the engine core of vLLM, which holds the GPU's memory."""
    box.engine("subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])")
    described = detached(box)
    server = identity(described)
    (worker,) = children(server)
    bystander = subprocess.Popen(["sleep", "600"], process_group=0)
    try:
        with box.registry.open("a") as lines:
            host = os.uname().nodename
            lines.write(f"local-{bystander.pid}-1|{host}|127.0.0.1|8000|m|2026-01-01 00:00:00|stopped||lost\n")

        os.kill(parent(server), signal.SIGKILL)  # the server dies with its guard
        await_true(lambda: not box.servers(), what="the server is gone")
        assert start_ticks(worker) is not None
        ended = box.say("down", "--all", "--json")

        assert json.loads(ended.stdout) == {"ended": [described["id"]], "left": []}, ended.stderr
        assert start_ticks(worker) is None
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_down_leaves_a_process_alone_that_only_has_the_servers_number(box: Machine) -> None:
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        host = os.uname().nodename
        box.registry.write_text(f"local-{sleeper.pid}-1|{host}|127.0.0.1|8000|m|2026-01-01 00:00:00|running\n")

        ended = box.say("down", "--all")

        assert ended.returncode == 0, ended.stderr
        assert sleeper.poll() is None
        assert box.registry.read_text().endswith("|stopped||lost\n")
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_server_that_ignores_sigterm_is_killed_by_down(box: Machine) -> None:
    box.engine("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    detached(box)

    stopped = box.say("down", "--all", "--timeout", "0.2")

    assert stopped.returncode == 0, stopped.stderr
    assert box.servers() == []


def test_when_one_server_dies_the_others_are_stopped_and_it_is_named(box: Machine) -> None:
    box.engine("print('last words of', port, file=sys.stderr, flush=True)")
    words = ("--gpu", "cpu", "--no-tools", "--num-servers", "2", "--start-port", str(free_port()), "--json")
    with box.started("up", box.checkpoint(), *words) as process:
        servers = ready(process)

        os.kill(identity(servers[1]), signal.SIGKILL)

        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert f"the server on port {servers[1]['port']} ended with exit code 137" in said
        assert f"last words of {servers[1]['port']}" in said
        assert box.servers() == []
        assert box.states() == ["stopped", "stopped"]


def test_the_model_config_file_names_the_servers_and_is_read_again(box: Machine) -> None:
    box.engine()
    checkpoint = box.checkpoint()
    words = ("--gpu", "cpu", "--no-tools", "--start-port", str(free_port()), "--model-config-path", "config.json")
    with box.started("up", checkpoint, *words, "--json") as process:
        (server,) = ready(process)

        checked = box.say("up", checkpoint, "--skip-server-start", "--model-config-path", "config.json")
        other = box.say("up", "another", "--skip-server-start", "--urls", str(server["url"]))
        few = box.say(
            "up",
            checkpoint,
            "--skip-server-start",
            "--urls",
            f"{server['url']},http://127.0.0.1:1",
            "--min-healthy",
            "1",
        )
        process.terminate()
        process.wait(60)
    stale = box.say("up", checkpoint, "--skip-server-start", "--model-config-path", "config.json")

    assert json.loads((box.folder / "config.json").read_text()) == {
        str(checkpoint): [{"ip_addr": "127.0.0.1", "port": str(server["port"])}],
        "vllm_model_config_path": "config.json",
    }
    assert (checked.returncode, checked.stdout) == (0, f"{server['url']}  ready  tiny\n"), checked.stderr
    assert other.returncode == 4
    assert "serves tiny, not another" in other.stderr
    assert few.returncode == 0, few.stderr
    assert stale.returncode == 4
    assert "0 of 1 servers are ready, 1 are needed" in stale.stderr


def test_a_dry_run_prints_the_command_lines_and_starts_nothing(box: Machine) -> None:
    box.gpus(0, 0, 0, 0)
    ran = box.say("up", "qwen3-32b", "--tp", "2", "--dry-run", "--start-port", "8100", "--engine-arg", "max-num-seqs=8")

    assert ran.returncode == 0, ran.stderr
    first, second = (shlex.split(line) for line in ran.stdout.splitlines())
    assert first[first.index("serve") + 1] == "Qwen/Qwen3-32B"
    assert (first[first.index("--port") + 1], second[second.index("--port") + 1]) == ("8100", "8101")
    assert (first[first.index("--seed") + 1], second[second.index("--seed") + 1]) == ("1", "2")
    assert first[-2:] == ["--max-num-seqs", "8"]
    assert not box.registry.exists()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("up", "qwen3-32b", "--gpu", "cpu", "--partition", "gpu"), "options of SLURM need --launcher slurm"),
        (("up", "qwen3-32b", "--urls", "http://h:1"), "need --skip-server-start"),
        (("up", "qwen3-32b", "--skip-server-start"), "needs --urls or --model-config-path"),
        (("up", "qwen3-32b", "--launcher", "slurm", "--detach"), "are for --launcher local"),
        (("up", "reference", "--port", "0", "--num-servers", "2"), "No such option '--port'"),
    ],
)
def test_options_that_would_be_ignored_are_refused(box: Machine, words: tuple[str, ...], fault: str) -> None:
    ran = box.say(*words)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert fault in ran.stderr


def test_a_server_that_listens_everywhere_is_announced_with_an_address_that_answers_and_how_to_use_and_stop_it(
    box: Machine,
) -> None:
    box.engine()
    words = ("--gpu", "cpu", "--no-tools", "--host", "0.0.0.0", "--start-port", str(free_port()))
    with box.started("up", box.checkpoint(), *words) as process:
        assert process.stdout is not None
        first, use, stop = (process.stdout.readline() for _ in range(3))
        with urllib.request.urlopen(f"{first.split()[2]}/models", timeout=10) as answer:
            assert answer.status == 200
        process.terminate()
        process.wait(60)

    assert first.split()[1] == "tiny"
    assert "0.0.0.0" not in first
    assert use == 'use them: eval "$(inference export)"\n'
    assert stop == "stop them: Ctrl-C\n"


def test_down_returns_when_the_driver_shows_the_memory_of_the_servers_gpu_as_free(box: Machine) -> None:
    """The driver frees memory a while after the process has ended: here, when it is asked for the third time."""
    box.gpus(0)
    box.engine("""
        import pathlib, signal
        def leave(*_):
            pathlib.Path("ended").touch()
            os._exit(0)
        signal.signal(signal.SIGTERM, leave)
    """)
    words = ("--no-tools", "--detach", "--start-port", str(free_port()))
    started = box.run("up", box.checkpoint(), *words)
    assert started.returncode == 0, started.stderr
    driver = (box.bin / "nvidia-smi").read_text()
    busy = driver.replace(", 551, 0, 9.0", ", 551, 9000, 9.0").removeprefix("#!/bin/sh\n")
    slow = f"if [ -e ended ]; then echo x >> asked; if [ $(wc -l < asked) -lt 3 ]; then {busy} exit; fi; fi\n"
    box.program("nvidia-smi", driver.replace("#!/bin/sh\n", f"#!/bin/sh\n{slow}"))

    stopped = box.say("down", "--all")

    assert stopped.returncode == 0, stopped.stderr
    assert (box.folder / "asked").read_text().count("x") == 3
