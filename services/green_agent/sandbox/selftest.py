"""Proves at start-up that a sandbox works and isolates: positive probes, then attacks 1 to 12. Once per process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from services.contract.execution import CallArguments, Calls, Job, JobResult, Program, SandboxInfo, Split
from services.contract.values import encode
from services.green_agent.sandbox.attack_programs import DAEMON_NAME
from services.green_agent.sandbox.attacks import Attack, attacks
from services.green_agent.sandbox.pool import LocalSandbox


class Attacked(Protocol):
    """A sandbox here or behind its service."""

    @property
    def info(self) -> SandboxInfo:
        """Whether it claims to isolate."""
        ...

    async def run(self, job: Job) -> JobResult:
        """Run one job."""
        ...


LAST_ATTACK: Final = 12
LOOKS: Final = 40
LOOK_S: Final = 0.05
_proofs: dict[str, dict[str, bool]] = {}


async def self_test(sandbox: LocalSandbox) -> dict[str, bool]:
    """Whether each probe came out as it must, by name. Raises SandboxError when the sandbox does not even start.

    A backend without isolation says False to the attacks on isolation.
    """
    name = sandbox.backend.name
    if name not in _proofs:
        _proofs[name] = await _positive_probes(sandbox) | await _attacks(sandbox)
    return _proofs[name]


async def _positive_probes(sandbox: LocalSandbox) -> dict[str, bool]:
    value = {"one": (1, 2.5, None), 2: {"two"}}
    calls = Calls(source="def f(x): return x", entry_point="f", calls=[CallArguments(args=[encode(value)])])
    program = Program(source="import sys\nprint(sys.stdin.read()[::-1], end='')", stdin="abc")
    split = Split(source="def f(x): return x + 1", entry_point="f", test_source="assert f(1) == 2")
    called, ran, tested = [await sandbox.run(job) for job in (calls, program, split)]
    return {
        "calls": [result.value for result in called.calls] == [encode(value)],
        "program": (ran.stdout, ran.exit_status) == ("cba", 0),
        "split": tested.passed is True,
    }


async def _attacks(sandbox: LocalSandbox) -> dict[str, bool]:
    listener = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        chosen = [attack for attack in attacks(port=port) if attack.number <= LAST_ATTACK]
        held = await asyncio.gather(*(withstands(sandbox, attack) for attack in chosen))
    return {_label(attack): ok for attack, ok in zip(chosen, held, strict=True)}


def shortcomings(probes: Mapping[str, bool], *, isolated: bool) -> list[str]:
    """Probes that a backend ought to have passed and did not."""
    excused = set() if isolated else {_label(attack) for attack in attacks(port=0) if attack.isolation}
    return [name for name, passed in probes.items() if not passed and name not in excused]


def _label(attack: Attack) -> str:
    return f"{attack.number} {attack.name}"


async def withstands(sandbox: Attacked, attack: Attack) -> bool:
    """True when the attack came to nothing. What a backend without isolation cannot withstand is not even tried."""
    if attack.isolation and not sandbox.info.isolated:
        return False
    results = [await sandbox.run(job) for job in attack.jobs]
    return attack.failed(results) and await _no_daemon_stays()


async def _no_daemon_stays() -> bool:
    """One that is seen for a moment belongs to an attack that still runs, of this process or another; ours would stay."""
    for _ in range(LOOKS):
        if not daemons():
            return True
        await asyncio.sleep(LOOK_S)
    return False


def daemons() -> list[int]:
    """Processes on this machine that attack 7 left behind."""
    return [int(name.parent.name) for name in Path("/proc").glob("[0-9]*/comm") if _read(name) == DAEMON_NAME]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
