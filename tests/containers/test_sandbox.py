"""The sandbox service in its container, attacked from outside: as compose runs it, and where no namespace may be made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.contract.execution import Program
from services.contract.sandbox_client import UNIX
from services.green_agent.sandbox import open_sandbox
from services.green_agent.sandbox.attacks import attacks
from services.green_agent.sandbox.opening import Sandbox
from services.green_agent.sandbox.selftest import daemons, withstands
from tests.containers.engine import TAG, await_health, run

pytestmark = pytest.mark.usefixtures("images")

WALLS = ("--network", "none", "--read-only", "--tmpfs", "/tmp:mode=1777,size=512m", "--init", "--cap-drop", "ALL")
PRIVILEGES = ("--security-opt", "no-new-privileges:true")
NAMESPACES = (
    *("--security-opt", "seccomp=compose/sandbox-seccomp.json"),
    *("--security-opt", "systempaths=unconfined", "--security-opt", "apparmor=unconfined"),
)
USERS = ("--user", "0", "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "KILL")
WAYS = {"bwrap-warm": NAMESPACES, "container": USERS}
"""Backend inside, and what its container is given for it."""
ALL = attacks(port=1)


@pytest.fixture(scope="module", params=WAYS)
def service(images: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a service that uses the backend of the parameter; skipped where the engine's host does not allow that."""
    folder = tmp_path_factory.mktemp("sandbox")
    folder.chmod(0o777)
    options = ("--detach", "--volume", f"{folder}:/run/assay", *WALLS, *PRIVILEGES, *WAYS[request.param])
    container = run("docker", "run", *options, f"assay-sandbox:{TAG}").stdout.strip()
    try:
        state = await_health(container, within_s=120)
        logs = run("docker", "logs", container, check=False).stderr
        if state != "healthy" and request.param == "bwrap-warm":
            pytest.skip(f"no cells inside a container here: {logs[-500:]}")
        assert state == "healthy", logs
        yield f"{UNIX}{Path(folder) / 'sandbox.sock'}"
    finally:
        run("docker", "rm", "--force", container)


@pytest.fixture
async def sandbox(service: str) -> AsyncIterator[Sandbox]:
    """The service as green sees it."""
    opened = await open_sandbox(url=service)
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("chosen", range(len(ALL)), ids=[f"{attack.number} {attack.name}" for attack in ALL])
async def test_the_attack_comes_to_nothing_in_the_container(sandbox: Sandbox, chosen: int) -> None:
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as listener:
        attack = attacks(port=listener.sockets[0].getsockname()[1])[chosen]

        assert await withstands(sandbox, attack)

    assert daemons() == []


async def test_the_container_says_what_isolates_and_what_compiles(sandbox: Sandbox) -> None:
    facts = sandbox.info.facts

    assert (sandbox.info.isolated, facts["inside"] in WAYS) == (True, True)
    assert "g++" in facts["compiler"]


async def test_a_program_in_cpp_is_built_and_runs_in_the_container(sandbox: Sandbox) -> None:
    source = "#include <bits/stdc++.h>\nint main() { int n; std::cin >> n; std::cout << n * n; }"

    result = await sandbox.run(Program(source=source, language="cpp", stdin="12"))

    assert (result.stdout, result.exit_status) == ("144", 0)
