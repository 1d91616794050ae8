import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.contract import guard
from tests.runner.support.processes import alive, await_true

FAMILY = """
import os, pathlib, signal, subprocess, sys, time
if {stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
here = pathlib.Path({pids!r})
helper = "import os, signal, sys, time; os.setsid() if sys.argv[1] == 'away' else None; time.sleep(600)"
near = subprocess.Popen([sys.executable, "-c", helper, "near"])
away = subprocess.Popen([sys.executable, "-c", helper, "away"])
here.write_text(f"{{os.getpid()}} {{near.pid}} {{away.pid}}")
time.sleep(600)
"""


def start(folder: Path, *, stubborn: bool = False, grace_s: float = 5) -> tuple[subprocess.Popen[bytes], list[int]]:
    pids = folder / "pids"
    code = FAMILY.format(stubborn=stubborn, pids=str(pids))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(grace_s), sys.executable, "-c", code], stdin=subprocess.PIPE
    )
    await_true(lambda: pids.exists() and len(pids.read_text().split()) == 3, what="the family is there")
    return process, [int(pid) for pid in pids.read_text().split()]


def close_life_line(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def terminate(process: subprocess.Popen[bytes]) -> None:
    process.terminate()


@pytest.mark.parametrize("end", [close_life_line, terminate])
def test_the_whole_family_ends_with_the_life_line_or_the_guard(
    tmp_path: Path, end: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    process, family = start(tmp_path)

    end(process)

    assert process.wait(30) == 128 + signal.SIGTERM
    assert [pid for pid in family if alive(pid)] == []
    if process.stdin is not None:
        process.stdin.close()


def test_a_family_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process, family = start(tmp_path, stubborn=True, grace_s=0.2)

    close_life_line(process)

    assert process.wait(30) == 128 + signal.SIGKILL
    assert [pid for pid in family if alive(pid)] == []


def test_the_command_dies_with_a_guard_that_is_killed(tmp_path: Path) -> None:
    process, (command, *_rest) = start(tmp_path)

    process.kill()
    process.wait()

    await_true(lambda: not alive(command), what="the command is gone")
    for pid in _rest:
        with subprocess.Popen(["kill", "-9", str(pid)]) as cleaning:
            cleaning.wait()
    close_life_line(process)


def test_a_family_that_was_let_go_outlives_its_starter_and_still_ends_whole(tmp_path: Path) -> None:
    process, family = start(tmp_path)
    assert process.stdin is not None

    process.stdin.write(b".")
    process.stdin.flush()
    close_life_line(process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)  # without the message it ends in milliseconds
    assert all(map(alive, family))
    os.kill(family[0], signal.SIGKILL)

    assert process.wait(30) == 128 + signal.SIGKILL
    assert [pid for pid in family if alive(pid)] == []


def test_children_left_behind_by_a_command_that_ended_are_ended_too(tmp_path: Path) -> None:
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print(p.pid)"

    with subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, "5", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.read())

    assert process.returncode == 0
    assert not alive(child)


@pytest.mark.parametrize(("command", "code"), [(["false"], 1), (["no-such-command-anywhere"], 127)])
def test_the_exit_code_is_the_commands(command: list[str], code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, "5", *command], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(30) == code
