"""Every attack of the specification, on every backend this machine has."""

import asyncio
import textwrap

from services.contract.execution import CallArguments, Calls, Split
from services.contract.values import decode
from services.green_agent.sandbox import compiler
from services.green_agent.sandbox.attack_programs import SEARCH_MEMORY
from services.green_agent.sandbox.attacks import attacks
from services.green_agent.sandbox.backends import USERS
from services.green_agent.sandbox.pool import LocalSandbox
from services.green_agent.sandbox.selftest import daemons, withstands

CPP = 15
BRIEF_BUILDS = compiler.LIMITS.model_copy(update={"cpu_s": 2.0})
ALL = attacks(port=1)


async def test_every_attack_comes_to_nothing(sandbox: LocalSandbox) -> None:
    """In one sandbox: the workers' start is what takes the time."""
    sandbox.build_limits = BRIEF_BUILDS
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as listener:
        chosen = [
            attack
            for attack in attacks(port=listener.sockets[0].getsockname()[1])
            if (sandbox.info.isolated or not attack.isolation)
            and (compiler.executable() is not None or attack.number != CPP)
        ]
        held = await asyncio.gather(*(withstands(sandbox, attack) for attack in chosen))

    assert [attack.name for attack, ok in zip(chosen, held, strict=True) if not ok] == []
    assert daemons() == []


def test_no_attack_is_missing() -> None:
    assert {attack.number for attack in ALL} == set(range(1, 17))


async def test_the_search_of_attack_2_finds_what_is_there_to_find(sandbox: LocalSandbox) -> None:
    """Otherwise it would prove nothing."""
    secret = "ab12" * 8
    source = f"hidden = 'EXPECTED-{secret}'\n" + textwrap.dedent(SEARCH_MEMORY)

    result = await sandbox.run(Calls(source=source, entry_point="f", calls=[CallArguments()]))

    found = decode(result.calls[0].value)

    # File rules close even a program's own memory to it; elsewhere the search has to work.
    assert (found, result.calls[0].exception) == (
        (None, "PermissionError") if sandbox.backend is USERS else (secret, "")
    )


async def test_a_worker_never_holds_the_test_of_an_earlier_job(warm: LocalSandbox) -> None:
    secret = "EXPECTED-" + "ab12" * 8
    hidden = Split(source="def f(): return 1", entry_point="f", test_source=f"x = {secret!r}\nassert f() == 1")
    search = Calls(source=textwrap.dedent(SEARCH_MEMORY), entry_point="f", calls=[CallArguments()])
    for _ in range(4):
        assert (await warm.run(hidden)).passed is True

    found = [decode((await warm.run(search)).calls[0].value) for _ in range(4)]

    assert found == ["", "", "", ""]
