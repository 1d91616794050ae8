"""Real attacks on a sandbox, each with what proves that it failed. Source: code-and-math specification 9.5.

The self-test runs 1 to 12 at every start, the test suite all of them on every backend. A source is executed as it stands;
what it returns is the list of things it achieved, so an empty list is the good end.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from services.contract.execution import (
    CallArguments,
    Calls,
    CallStatus,
    Job,
    JobResult,
    LimitHit,
    Limits,
    Program,
    Split,
)
from services.contract.values import Unencodable, decode
from services.green_agent.sandbox import attack_programs as programs

Verdict = Callable[[Sequence[JobResult]], bool]

USUAL: Final = Limits()
BURNER: Final = Limits(cpu_s=0.5, call_cpu_s=0.2, wall_s=20.0)
SLEEPER: Final = Limits(cpu_s=20.0, wall_s=0.5)
CROWD: Final = Limits(processes=4)
HUNGRY: Final = Limits(cpu_s=10.0, wall_s=20.0, memory_bytes=1 << 30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """Jobs run one after the other, and what must hold of their results."""

    number: int
    name: str
    jobs: tuple[Job, ...]
    failed: Verdict
    """True when the attack came to nothing."""
    isolation: bool = False
    """True when only a backend that isolates can withstand it."""


def _call(source: str, *, limits: Limits = USUAL, args: tuple[int, ...] = ()) -> Calls:
    return Calls(source=textwrap.dedent(source), entry_point="f", calls=[CallArguments(args=list(args))], limits=limits)


def _split(source: str, test_source: str) -> Split:
    return Split(source=textwrap.dedent(source), entry_point="f", test_source=textwrap.dedent(test_source))


def _returned(result: JobResult) -> object:
    """What the only call returned; the result itself, which equals nothing, when it did not return."""
    call = result.calls[0]
    return decode(call.value) if call.status is CallStatus.RETURNED else result


def _nothing_achieved(results: Sequence[JobResult]) -> bool:
    return all(_returned(result) == [] for result in results)


def _no_value(results: Sequence[JobResult]) -> bool:
    returned = any(call.status is CallStatus.RETURNED for result in results for call in result.calls)
    return not returned and not any(result.passed for result in results)


def _equals_only_itself(results: Sequence[JobResult]) -> bool:
    value = _returned(results[0])
    return isinstance(value, list) and value[0] == 1 and value[0] != 2 and isinstance(value[1], Unencodable)


def _stopped_by(limit: LimitHit) -> Callable[[JobResult], bool]:
    return lambda result: result.limit is limit and result.calls[0].status is CallStatus.TIMEOUT


def _both_fail(results: Sequence[JobResult]) -> bool:
    return [result.passed for result in results] == [False, False]


def _bomb_contained(results: Sequence[JobResult]) -> bool:
    started = _returned(results[0])
    return isinstance(started, int) and started <= USUAL.processes


def _memory_held(results: Sequence[JobResult]) -> bool:
    alone, together = results
    peak = together.peak_memory_bytes or 0
    return _no_value(results) and together.limit is LimitHit.MEMORY and peak < 3 * HUNGRY.memory_bytes and bool(alone)


def _output_held(results: Sequence[JobResult]) -> bool:
    endless, file = results
    room = endless.truncated and len(endless.stdout) <= USUAL.output_bytes
    return room and endless.limit is LimitHit.OUTPUT and _returned(file) == []


def _forgery_compared(results: Sequence[JobResult]) -> bool:
    plain, split = results
    return _returned(plain) == 1 and split.passed is False


def _time_held(results: Sequence[JobResult]) -> bool:
    burner, sleeper = results
    return _stopped_by(LimitHit.CPU)(burner) and _stopped_by(LimitHit.WALL)(sleeper)


def _own_values_only(results: Sequence[JobResult]) -> bool:
    return results[0].passed is False


def _contained(results: Sequence[JobResult]) -> bool:
    # Its own kill may have ended it; what counts is that it did nothing else and that others still run.
    first, bystander = results
    return _returned(bystander) == [] and (_returned(first) == [] or first.calls[0].status is CallStatus.NOT_RUN)


def _same_sight(results: Sequence[JobResult]) -> bool:
    first, second = (_returned(result) for result in results)
    if not isinstance(first, tuple) or not isinstance(second, tuple):
        return False
    # A container that may not make namespaces numbers its processes in one row; there the numbers tell, nothing else.
    numbered_alike = first[0] == second[0] or results[0].backend == "container"
    return numbered_alike and bool(first[1] == second[1])


def _cpp(source: str, *, limits: Limits = USUAL, headers: Mapping[str, str] | None = None) -> Program:
    text = textwrap.dedent(source)
    return Program(source=text, language="cpp", headers=dict(headers or {}), limits=limits)


def _not_found(results: Sequence[JobResult]) -> bool:
    looked, embedded = results
    told = "".join(result.stdout + (result.build.output if result.build else "") for result in results)
    unseen = looked.stdout == "nothing\n" or not _built(looked)
    return unseen and not _built(embedded) and "root:" not in told


def _bombs_defused(results: Sequence[JobResult]) -> bool:
    *builds, endless = results
    return not any(map(_built, builds)) and _built(endless) and endless.limit is LimitHit.CPU


def _only_its_end(results: Sequence[JobResult]) -> bool:
    return [result.stdout for result in results] == ["end\n"]


def _built(result: JobResult) -> bool:
    return result.build is not None and result.build.ok


def _calls(*sources: str, limits: Limits = USUAL) -> tuple[Job, ...]:
    return tuple(_call(source, limits=limits) for source in sources)


EXITS: Final = (
    "import os\ndef f(): os._exit(0)",
    "import sys\ndef f(): sys.exit()",
    "import os\ndef f(): os.execv('/bin/true', ['true'])",
)
_EQUAL: Final = (_call(programs.EQUAL_TO_ALL, args=(1,)),)
_SEARCH: Final = (
    _split(programs.SEARCH_MEMORY, programs.HIDDEN_TEST),
    _split(programs.WALK_FRAMES, "assert f(1) == 2"),
)
_EXIT: Final = (*_calls(*EXITS), *(_split(source, "assert f() is None") for source in EXITS))
_FORGE: Final = (_call(programs.FORGE_FRAMES, args=(1,)), _split(programs.FORGE_FRAMES, "assert f(1) == 2"))
_MEMORY: Final = _calls(programs.HOARD, programs.HOARD_TOGETHER, limits=HUNGRY)
_OUTPUT: Final = (Program(source=textwrap.dedent(programs.ENDLESS_OUTPUT)), _call(programs.BIG_FILE))
_TIME: Final = (
    _call(programs.SWALLOW_ALL, limits=BURNER, args=(0,)),
    _call(programs.SWALLOW_ALL, limits=SLEEPER, args=(1,)),
)
_PATCH: Final = (_split(programs.PATCH_ALL, "assert f(1) == 3"),)
_ROOM: Final = (
    _cpp(programs.CPP_BOMB, headers={"bomb.h": textwrap.dedent(programs.CPP_BOMB_HEADER)}),
    _cpp(programs.CPP_NOISE),
    _cpp(programs.CPP_ARRAY),
    _cpp(programs.CPP_LAST_WORDS, limits=BURNER),
)

TABLE: Final[tuple[tuple[int, str, tuple[Job, ...], Verdict, bool], ...]] = (
    (1, "equal to everything", _EQUAL, _equals_only_itself, False),
    (2, "search for the harness", _SEARCH, _both_fail, False),
    (3, "early exit", _EXIT, _no_value, False),
    (4, "forged verdicts", _FORGE, _forgery_compared, False),
    (5, "fork bomb", _calls(programs.FORK_BOMB), _bomb_contained, True),
    (6, "memory", _MEMORY, _memory_held, False),
    (7, "daemon", _calls(programs.DAEMON), _nothing_achieved, False),
    (9, "reading", _calls(programs.READ_SECRETS), _nothing_achieved, True),
    (10, "writing", _calls(programs.LEAVE_TRACES) * 2, _nothing_achieved, True),
    (11, "output", _OUTPUT, _output_held, False),
    (12, "endless time", _TIME, _time_held, False),
    (13, "patched modules", _PATCH, _own_values_only, False),
    (14, "break out", _calls(programs.BREAK_OUT, programs.BYSTANDER), _contained, True),
    (15, "c++ that includes a host file", (_cpp(programs.CPP_INCLUDE), _cpp(programs.CPP_EMBED)), _not_found, True),
    (15, "c++ that takes room and time", _ROOM, _bombs_defused, False),
    (15, "c++ that breaks out", (_cpp(programs.CPP_BREAK_OUT, limits=CROWD),), _only_its_end, True),
    (16, "state", _calls(programs.WHO_AM_I) * 2, _same_sight, True),
)
"""Number, name, jobs, verdict, and whether only a backend that isolates can withstand it; all but what needs a port."""


def attacks(*, port: int) -> tuple[Attack, ...]:
    """All attacks, in Python and in C++. `port`: a port of 127.0.0.1 on this machine where something listens."""
    network = (8, "network", (_call(programs.REACH_NETWORK, args=(port,)),), _nothing_achieved, True)
    return tuple(
        Attack(number=number, name=name, jobs=jobs, failed=failed, isolation=isolation)
        for number, name, jobs, failed, isolation in sorted((*TABLE, network), key=itemgetter(0))
    )
