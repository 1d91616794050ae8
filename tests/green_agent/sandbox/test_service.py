"""The sandbox service over a unix socket and over TCP, and its client."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from services.contract.execution import Calls, Program, SandboxError
from services.contract.sandbox_client import SandboxClient
from services.contract.values import decode
from services.green_agent.sandbox import open_sandbox
from tests.green_agent.sandbox.processes import descendants, eventually, named
from tests.green_agent.sandbox.test_jobs import calls
from tests.green_agent.sandbox.test_leaving_nothing import sleeper, until_running

SERVE = [sys.executable, "-m", "services.green_agent.sandbox", "serve", "--allow-unsafe-sandbox"]


def started(folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """A service that listens, and its URL."""
    ready = folder / "ready"
    process = subprocess.Popen([*SERVE, "--ready-file", str(ready), *options], stderr=subprocess.DEVNULL)
    while not ready.exists():
        assert process.poll() is None
    return process, ready.read_text()


def stopped(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(60)


@pytest.fixture(scope="module", params=["unix", "tcp"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    options = ("--socket", str(folder / "s.sock")) if request.param == "unix" else ("--port", "0")
    process, url = started(folder, *options)
    yield url
    assert stopped(process) == 0


@pytest.fixture
async def client(url: str) -> AsyncIterator[SandboxClient]:
    client = SandboxClient(url)
    yield client
    await client.aclose()


async def test_a_job_gives_its_result(client: SandboxClient) -> None:
    result = await client.run(calls("def f(x): return (x, 1.5)", ("é",)))

    assert decode(result.calls[0].value) == ("é", 1.5)


async def test_jobs_run_at_the_same_time_and_answers_find_their_question(client: SandboxClient) -> None:
    results = await asyncio.gather(*(client.run(Program(source=f"print({number})")) for number in range(30)))

    assert [result.stdout for result in results] == [f"{number}\n" for number in range(30)]


async def test_the_service_tells_what_isolates(client: SandboxClient) -> None:
    info = await client.info()

    assert info.backend in {"bwrap-warm", "bwrap-cold", "container", "unsafe-subprocess"}
    assert info.probes["1 equal to everything"] is True
    assert set(info.facts) >= {"kernel", "python"}


async def test_cancelling_the_client_ends_the_program(client: SandboxClient) -> None:
    running = asyncio.create_task(client.run(sleeper("assay-remote")))
    await until_running("assay-remote")

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert eventually(lambda: not named("assay-remote"))
    assert (await client.run(Program(source="print(1)"))).stdout == "1\n"


async def test_a_large_job_and_a_large_result_cross(client: SandboxClient) -> None:
    job = Program(source="import sys\nprint(sys.stdin.read(), end='')", stdin="x" * 900_000)

    assert (await client.run(job)).stdout == "x" * 900_000


async def test_what_is_no_job_is_refused_with_the_reason(url: str) -> None:
    transport = httpx.AsyncHTTPTransport(uds=url.removeprefix("unix://") if url.startswith("unix") else None)
    base = "http://sandbox" if url.startswith("unix") else url
    async with httpx.AsyncClient(base_url=base, transport=transport) as http:
        refused = await http.post("/run", content=b'{"kind": "calls", "sauce": 1}')
        health = await http.get("/healthz")

    assert refused.status_code == 422
    assert refused.json()["error"].startswith("not a job: ")
    assert health.json()["status"] == "ok"


async def test_green_reaches_it_as_the_container_backend(url: str) -> None:
    sandbox = await open_sandbox(url=url, allow_unsafe=True)
    try:
        result = await sandbox.run(Program(source="print(1)"))
    finally:
        await sandbox.aclose()

    assert (sandbox.info.backend, result.backend, result.stdout) == ("container", "container", "1\n")


@pytest.mark.parametrize("gone", ["http://127.0.0.1:9", "unix:///nowhere/sandbox.sock"])
async def test_a_service_that_is_not_there_is_a_sandbox_error_with_the_remedy(gone: str) -> None:
    client = SandboxClient(gone)
    try:
        with pytest.raises(SandboxError, match=r"cannot be reached .* start it with `assay sandbox serve`"):
            await client.run(Calls(source="", entry_point="f", calls=[]))
    finally:
        await client.aclose()


async def test_a_stopped_service_ends_its_programs_and_removes_its_socket(tmp_path: Path) -> None:
    process, url = started(tmp_path, "--socket", str(tmp_path / "s.sock"))
    workers = descendants(process.pid)
    client = SandboxClient(url)
    running = asyncio.create_task(client.run(sleeper("assay-stopped")))
    await until_running("assay-stopped")

    status = await asyncio.to_thread(stopped, process)
    with pytest.raises(SandboxError):
        await running
    await client.aclose()

    assert status == 0
    assert named("assay-stopped") == []
    assert not (tmp_path / "s.sock").exists()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
