"""Nothing is left over: processes, descriptors, files; after programs, cancellation, and deaths on either side."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from services.contract.execution import (
    CallArguments,
    Calls,
    Executable,
    Interactive,
    Limits,
    Program,
    SandboxError,
    Split,
)
from services.green_agent.sandbox import backends
from services.green_agent.sandbox.backends import BWRAP_WARM, UNSAFE
from services.green_agent.sandbox.pool import LocalSandbox
from tests.green_agent.sandbox.conftest import lacking, needs_compiler
from tests.green_agent.sandbox.processes import NAMED_SLEEPER, children, descendants, descriptors, eventually, named

ENDLESS = Limits(wall_s=600)


def sleeper(name: str) -> Calls:
    """Seen from outside as `name`, and there until it is ended."""
    return Calls(source=NAMED_SLEEPER.format(name=name), entry_point="f", calls=[CallArguments()], limits=ENDLESS)


def kill(pids: set[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # the end of one may be the end of another
            os.kill(pid, signal.SIGKILL)


async def until_running(name: str) -> None:
    """A program tells nobody that it runs; only the process list does."""
    assert await asyncio.to_thread(eventually, lambda: bool(named(name)))


async def test_300_programs_leave_nothing(warm: LocalSandbox) -> None:
    job = Program(source="import os, sys\nopen('file', 'w').write('x')\nif os.fork() == 0: sys.exit()\nprint('ok')")
    split = Split(source="def f(): return 1", entry_point="f", test_source="assert f() == 1")
    await asyncio.gather(*(warm.run(each) for each in (job, split) * 4))
    resting, before = descendants(), descriptors()

    results = await asyncio.gather(*(warm.run(job) for _ in range(300)))

    assert {result.stdout for result in results} == {"ok\n"}
    assert eventually(lambda: descendants() <= resting)
    assert descriptors() == before


@needs_compiler
async def test_programs_in_cpp_and_interactions_leave_nothing(warm: LocalSandbox) -> None:
    echo = '#include <cstdio>\nint main() { int n; scanf("%d", &n); printf("%d\\n", n); }'
    run = Program(source=echo, language="cpp", stdin="1")
    talk = Interactive(
        program=Executable(source=echo, language="cpp"), interactor=Executable(source="print(5)\nassert input() == '5'")
    )
    await asyncio.gather(*(warm.run(each) for each in (run, talk) * 4))
    resting, before = descendants(), descriptors()

    results = await asyncio.gather(*(warm.run(each) for each in (run, talk) * 50))

    assert {(result.exit_status, result.stdout) for result in results[::2]} == {(0, "1\n")}
    assert {result.interactor and result.interactor.exit_status for result in results[1::2]} == {0}
    assert eventually(lambda: descendants() <= resting)
    assert descriptors() == before


@pytest.mark.parametrize("backend", ["warm", "unsafe"])
async def test_a_closed_sandbox_leaves_nothing(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = BWRAP_WARM if backend == "warm" else UNSAFE
    if reason := await lacking(chosen):
        pytest.skip(reason)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    processes, before = descendants(), descriptors()
    sandbox = LocalSandbox(chosen, workers=2)
    await asyncio.gather(*(sandbox.run(Program(source="open('file', 'w')")) for _ in range(6)))

    await sandbox.aclose()

    assert eventually(lambda: descendants() <= processes)
    assert descriptors() == before
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib's is refused in async tests


async def test_a_worker_is_replaced_after_500_programs_and_after_a_time_out() -> None:
    if reason := await lacking(BWRAP_WARM):
        pytest.skip(reason)
    others = children()  # of other tests in this process, such as the workers of computer algebra
    sandbox = LocalSandbox(BWRAP_WARM, workers=1)
    workers = []
    try:
        for count in (1, 498, 1, 1):
            for _ in range(count):
                await sandbox.run(Program(source=""))
            workers.append(children() - others)
        await sandbox.run(Program(source="while True: pass", limits=Limits(cpu_s=0.1, wall_s=30)))
        await sandbox.run(Program(source=""))
        workers.append(children() - others)
    finally:
        await sandbox.aclose()

    first, after_499, after_500, second, after_time_out = workers
    assert (len(first), after_499, after_500) == (1, first, set())
    assert (len(second), second & first) == (1, set())
    assert (len(after_time_out), after_time_out & second) == (1, set())


async def test_cancelling_ends_the_program(sandbox: LocalSandbox) -> None:
    running = asyncio.create_task(sandbox.run(sleeper("assay-cancel")))
    await until_running("assay-cancel")

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert named("assay-cancel") == []
    assert (await sandbox.run(Program(source="print(1)"))).stdout == "1\n"


async def test_cancelling_ends_both_sides_of_a_split_test(warm: LocalSandbox) -> None:
    job = Split(source=sleeper("assay-split").source, entry_point="f", test_source="f()", limits=ENDLESS)
    running = asyncio.create_task(warm.run(job))
    await until_running("assay-split")

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert named("assay-split") == []


async def test_a_job_that_waits_for_a_slot_can_be_cancelled(warm: LocalSandbox) -> None:
    running = [asyncio.create_task(warm.run(sleeper(f"assay-busy{number}"))) for number in range(2)]
    for number in range(2):
        await until_running(f"assay-busy{number}")
    waiting = asyncio.create_task(warm.run(Program(source="")))
    await asyncio.sleep(0)

    for task in (waiting, *running):
        task.cancel()
    ends = await asyncio.gather(waiting, *running, return_exceptions=True)

    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
    assert (await warm.run(Program(source="print(1)"))).stdout == "1\n"


async def test_closing_waits_for_running_jobs(warm: LocalSandbox) -> None:
    running = asyncio.create_task(warm.run(Program(source="import time; time.sleep(0.3); print('done')")))
    await asyncio.sleep(0)

    await warm.aclose()

    assert (await running).stdout == "done\n"
    with pytest.raises(SandboxError, match="closed"):
        await warm.run(Program(source=""))


async def test_a_killed_worker_is_a_sandbox_error_and_the_next_job_gets_another(warm: LocalSandbox) -> None:
    before = descendants()
    running = asyncio.create_task(warm.run(sleeper("assay-killed")))
    await until_running("assay-killed")

    kill(descendants() - before)
    with pytest.raises(SandboxError, match="ended without a report"):
        await running

    assert eventually(lambda: not named("assay-killed"))
    assert (await warm.run(Program(source="print(1)"))).stdout == "1\n"


async def test_no_signal_of_a_program_reaches_its_watcher(warm: LocalSandbox) -> None:
    source = """
import os, signal
for number in signal.valid_signals() - {signal.SIGCONT}:
    os.kill(1, number)
print("all sent")
raise KeyboardInterrupt
"""
    result = await warm.run(Program(source=source))

    assert (result.stdout, result.exit_status, result.error) == ("all sent\n", 1, "KeyboardInterrupt: ")


async def test_a_program_is_interrupted_as_usual(warm: LocalSandbox) -> None:
    source = "import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt: print('caught')"

    assert (await warm.run(Program(source=source))).stdout == "caught\n"


async def test_a_worker_killed_between_jobs_is_noticed_and_replaced(warm: LocalSandbox) -> None:
    before = descendants()
    await asyncio.gather(*(warm.run(Program(source="")) for _ in range(4)))
    kill(descendants() - before)
    assert eventually(lambda: descendants() <= before)

    ends = await asyncio.gather(*(warm.run(Program(source="print(1)")) for _ in range(2)), return_exceptions=True)
    again = await asyncio.gather(*(warm.run(Program(source="print(1)")) for _ in range(2)))

    assert {type(end) for end in ends} == {SandboxError}
    assert [result.stdout for result in again] == ["1\n", "1\n"]


OWNER = """
import asyncio, sys
from services.green_agent.sandbox import backends
from services.green_agent.sandbox.pool import LocalSandbox
from tests.green_agent.sandbox.test_leaving_nothing import sleeper

async def main(backend, name):
    await LocalSandbox(getattr(backends, backend), workers=1).run(sleeper(name))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("backend", ["BWRAP_WARM", "BWRAP_COLD", "UNSAFE"])
async def test_when_the_owner_is_killed_its_programs_end(backend: str) -> None:
    if reason := await lacking(getattr(backends, backend)):
        pytest.skip(reason)
    name = f"own-{backend.lower()}"
    with subprocess.Popen([sys.executable, "-c", OWNER, backend, name]) as owner:  # noqa: ASYNC220 - awaited below
        await until_running(name)
        workers = descendants(owner.pid)
        owner.kill()
        owner.wait()

    assert eventually(lambda: not named(name))
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


async def test_a_job_kept_waiting_by_others_is_run_again_alone(tmp_path: Path) -> None:
    """The unsafe backend, so that the programs can leave a trace of their order."""
    diary = tmp_path / "diary"
    note = f"import time\ndef note(text): open({str(diary)!r}, 'a').write(text + '\\n')\n"
    neighbour = Program(source=f"{note}time.sleep(1.5)\nnote('neighbour ended')")
    starved = Program(source=f"{note}note('starved began')\ntime.sleep(600)", limits=Limits(wall_s=0.2))
    sandbox = LocalSandbox(UNSAFE, workers=2)
    try:
        _, result = await asyncio.gather(sandbox.run(neighbour), sandbox.run(starved))
    finally:
        await sandbox.aclose()

    assert diary.read_text().splitlines() == ["starved began", "neighbour ended", "starved began"]
    assert str(result.limit) == "wall"
