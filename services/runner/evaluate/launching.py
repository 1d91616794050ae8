"""Servers of the model under test, launched by the command `inference`: `up`, `wait`, and with `--cleanup` `cancel`.

Each evaluation has a registry of its own, in its log folder, so that nothing but what it launched is ever ended.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from services.contract.secrets import redact
from services.runner.evaluate.asked import Asked
from services.runner.evaluate.servers import Served
from services.runner.failures import AgentStartError, RunnerError, ScenarioError
from services.runner.fitness import found_program
from services.runner.participants.logs import AgentLog

_KEEPER: Final = Path(__file__).with_name("keeper.py")
_SUBMITTING_S: Final = 60.0
"""A submission is not interrupted: whether SLURM has taken the job would not be known."""
_CHECK_INTERVAL_S: Final = 1.0
_FOREIGN_KEYS: Final = frozenset({"OPENAI_API_KEY", "OPENAI_EVAL_API_KEY", "ANTHROPIC_API_KEY"})
"""Keys of other people's servers, of which those launched here know nothing."""
_MOST_LINES: Final = 400
_LONGEST_LINE: Final = 1 << 24
_ERRORS: Final = ("inference: ", "Error: ")

Says = Callable[[str], None]
T = TypeVar("T", bound=BaseModel)


class _Given(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Server(_Given):
    """One of `up --json`."""

    id: str
    served_name: str
    url: str | None
    """None: a job that waits for its turn."""


class _Standing(_Given):
    """One of `wait --json`."""

    id: str
    url: str | None
    ready: bool
    log: str | None


class _Waited(_Given):
    servers: tuple[_Standing, ...]


class _Cancelled(_Given):
    """Of `cancel --json`."""

    left: tuple[str, ...]


class _Facts(_Given):
    """What `inference` notes of a server beside its registry."""

    engine: str
    version: str | None = None
    gpus: tuple[str, ...] = ()
    max_model_len: int | None = None
    command: tuple[str, ...] = ()
    forced: bool = False


_SERVERS: Final = TypeAdapter(tuple[_Server, ...])


async def check_launch(asked: Asked) -> None:
    """Have `inference` look at model, options and memory without starting anything. Raises ScenarioError with its words.

    Containers are looked at when they start, and a batch job looks at its own node.
    """
    if asked.launcher == "compose" or (asked.submit and asked.launcher == "local"):
        return
    words = _Words(None)
    code, _ = await _ran(words, "up", *_up_options(asked, Path("logs")), "--dry-run")
    if code:
        raise _failure(code, asked, words.last())


@asynccontextmanager
async def launched(asked: Asked, folder: Path, *, says: Says) -> AsyncIterator[Served]:
    """Launch what was asked for, wait for it, and with `--cleanup` end it afterwards, whatever happens.

    Raises ScenarioError for a model or option that `inference` refuses, AgentStartError when servers do not become ready.
    """
    await asyncio.to_thread(folder.mkdir, parents=True)
    says(f"launching {asked.model_path} by `inference up`, logs {folder}")
    keeper = await _Keeper.start(asked, folder, says=says)
    servers: tuple[_Server, ...] = ()
    try:
        servers = await keeper.servers()
        urls = await _addresses(asked, folder, servers, says=says)
        yield Served(
            model=servers[0].served_name, urls=tuple(urls.values()), record=_record(asked, folder, servers, urls)
        )
    finally:
        await keeper.end()
        if servers and not asked.cleanup:
            how = "cancel" if asked.launcher == "slurm" else "down"
            says(
                f"the servers go on: `inference {how} --all --registry {shlex.quote(str(_registry(folder)))}` ends them"
            )


class _Words:
    """What `inference` says on standard error: passed on, and kept for the error."""

    def __init__(self, says: Says | None) -> None:
        self._says = says
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)

    def __call__(self, _role: str, line: str) -> None:
        """Take a line. Further lines of an entry, such as logs of servers, are in the log file only."""
        self._lines.append(line)
        if self._says is not None and line.startswith("inference: "):
            self._says(line)

    def last(self) -> str:
        """The last entry: how a command that failed explains itself."""
        entry: list[str] = []
        for line in reversed(self._lines):
            entry.append(line)
            if line.startswith(_ERRORS):
                break
        first, *more = reversed(entry or [""])
        return "\n".join([first.partition(": ")[2] if first.startswith(_ERRORS) else first, *more]).strip()


class _Keeper:
    """The process that runs `up` and, with `--cleanup`, ends the servers when we close its life line or are gone."""

    def __init__(self, process: Process, asked: Asked, folder: Path, words: _Words) -> None:
        self._process = process
        self._asked = asked
        self._registry = _registry(folder)
        self._words = words
        self._told = b""
        """What it wrote after the list of servers."""
        log = AgentLog("inference", folder / "inference.log", words)
        self._pump = asyncio.create_task(log.pump(_pipe(process.stderr)), name="words of inference")

    @classmethod
    async def start(cls, asked: Asked, folder: Path, *, says: Says) -> Self:
        """Begin to launch."""
        patience_s = _SUBMITTING_S if asked.launcher == "slurm" else 0.0
        keeping = "end" if asked.cleanup else "leave"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_KEEPER), _program(), str(_registry(folder)), str(patience_s), keeping),
            *_up_options(asked, folder),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LONGEST_LINE,
            env=_environment(),
            start_new_session=True,
        )
        return cls(process, asked, folder, _Words(says))

    async def servers(self) -> tuple[_Server, ...]:
        """Those that `up` has started. Raises ScenarioError or AgentStartError with its words."""
        line = await _pipe(self._process.stdout).readline()
        try:
            found = _SERVERS.validate_json(line)
        except ValidationError:
            self._told = line
            code = await self._process.wait()
            await asyncio.wait({self._pump}, timeout=1.0)
            raise _failure(code, self._asked, self._words.last()) from None
        if not self._asked.cleanup:
            await self._process.wait()  # before it is done, the end of the life line would mean to stop
        return found

    async def end(self) -> None:
        """Close the life line, and see that what had to end has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._told += await _pipe(self._process.stdout).read()
        await self._process.wait()
        await asyncio.wait({self._pump}, timeout=1.0)
        self._pump.cancel()
        if self._asked.cleanup and self._registry.exists():
            self._warn_of_left()

    def _warn_of_left(self) -> None:
        try:
            left = _Cancelled.model_validate_json(self._told).left
        except ValidationError:
            left = ("not known",)
        if left:
            structlog.get_logger().warning(
                "servers_left",
                servers=left,
                reason=self._words.last(),
                remedy=f"inference cancel --all --registry {self._registry}",
            )


async def _addresses(asked: Asked, folder: Path, servers: Sequence[_Server], *, says: Says) -> dict[str, str]:
    """Where each is, by its id, once all are ready. `up` waits for all but jobs, whose nodes and ports SLURM decides."""
    known = {server.id: server.url for server in servers if server.url is not None}
    if len(known) == len(servers):
        return known
    words = _Words(says)
    code, out = await _ran(
        words,
        *("wait", "--json", "--registry", str(_registry(folder)), "--min-healthy", str(len(servers))),
        *("--timeout", f"{asked.timeout_s:g}", "--check-interval", str(_CHECK_INTERVAL_S)),
    )
    try:
        found = _Waited.model_validate_json(out).servers
    except ValidationError:
        raise _failure(code or 1, asked, words.last()) from None
    if code:
        tails = [f"the end of the log of {one.id}:\n{one.log}" for one in found if one.log]
        raise _failure(code, asked, "\n".join([words.last(), *tails]))
    return {one.id: one.url for one in found if one.ready and one.url is not None}


async def _ran(words: _Words, *arguments: str) -> tuple[int, bytes]:
    """Exit code and standard output of one `inference` command, which ends with us."""
    process = await asyncio.create_subprocess_exec(
        *(_program(), *arguments),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        limit=_LONGEST_LINE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        out, _ = await asyncio.gather(_pipe(process.stdout).read(), _told(_pipe(process.stderr), words))
        return await process.wait(), out
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _told(stream: asyncio.StreamReader, words: _Words) -> None:
    async for line in stream:
        words("inference", redact(line.decode(errors="replace").rstrip("\r\n")))


def _up_options(asked: Asked, folder: Path) -> list[str]:
    """What `inference up` is told; what was asked for in its own words comes last."""
    options = {
        "--num-servers": asked.num_servers,
        "--start-port": asked.start_port,
        "--model-name": asked.model,
        "--launcher": asked.launcher,
        "--registry": _registry(folder),
        "--log-dir": folder,
        "--server-timeout": f"{asked.timeout_s:g}",
    }
    return [
        asked.model_path or "",
        "--json",
        *(word for name, value in options.items() if value is not None for word in (name, str(value))),
        *(["--detach"] if asked.launcher == "local" else []),
        *asked.up_words,
    ]


def _registry(folder: Path) -> Path:
    return folder / "services.txt"


def _record(asked: Asked, folder: Path, servers: Sequence[_Server], urls: Mapping[str, str]) -> dict[str, JsonValue]:
    """What was launched, for the record of each run."""
    told: list[JsonValue] = [
        {"id": one.id, "url": urls.get(one.id), "served_name": one.served_name, **_facts(folder, one.id)}
        for one in servers
    ]
    return {
        "model_path": asked.model_path,
        "launcher": asked.launcher,
        "up_options": list(asked.up_words),
        "registry": str(_registry(folder).absolute()),
        "servers": told,
    }


def _facts(folder: Path, server_id: str) -> dict[str, JsonValue]:
    file = folder / "services.txt.d" / f"{server_id}.json"
    try:
        return _Facts.model_validate_json(file.read_bytes()).model_dump(mode="json")
    except (OSError, ValidationError):
        return {}


def _failure(code: int, asked: Asked, text: str) -> RunnerError:
    kind = ScenarioError if code in {2, 3} else AgentStartError
    return kind(f"--model-path {asked.model_path}: {text or f'`inference` ended with exit code {code}'}")


def _program() -> str:
    program = found_program()
    if program is None:
        raise ScenarioError(
            "the command `inference` is neither beside this Python nor on PATH: install it there, or start the servers"
            " yourself, then add --skip-launch and --endpoints URL,URL"
        )
    return program


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN_KEYS}


def _pipe(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if stream is None:
        raise AssertionError("started without a pipe")
    return stream
