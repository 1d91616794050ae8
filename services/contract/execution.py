"""Wire types of the sandbox: what may be run, under which limits, and what came of it.

The sandbox holds no test's expected value: callers compare outside. Values cross as the tagged JSON of `Encoded`
(code-and-math specification 5 "Values"); `unencodable` values equal nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


MOST_S: Final = 86_400.0
"""A day; no timer of the kernel takes any number of seconds."""
NAME_BYTES: Final = 255
"""Longest name of a file on Linux."""


class Limits(_Wire):
    """Bounds of one program. Time verdicts are CPU time; wall time only catches sleepers."""

    cpu_s: float = Field(default=20.0, gt=0, le=MOST_S)
    call_cpu_s: float = Field(default=6.0, gt=0, le=MOST_S)
    """CPU seconds of one call in call mode."""
    wall_s: float = Field(default=60.0, gt=0, le=MOST_S)
    memory_bytes: int = Field(default=1 << 30, gt=0)
    processes: int = Field(default=32, gt=0)
    open_files: int = Field(default=64, gt=0)
    output_bytes: int = Field(default=1 << 20, gt=0)
    file_bytes: int = Field(default=16 << 20, gt=0)
    scratch_bytes: int = Field(default=64 << 20, gt=0)


def _file_name(name: str) -> str:
    too_long = len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES
    if name in {"", ".", ".."} or "/" in name or "\0" in name or too_long:
        raise ValueError(f"expected the plain name of a file, got {name!r}")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
"""Name of a file in one folder."""

Language = Literal["python", "cpp"]
"""python: the interpreter of the sandbox. cpp: C++17, built by the sandbox before it runs."""


class Executable(_Wire):
    """A program as text. C++ is built in a cell of its own; the sandbox keeps what it built by content."""

    source: str
    language: Language = "python"
    headers: dict[FileName, str] = Field(default_factory=dict)
    """Files beside the source while it is built, by name; C++ only, for example `testlib.h`."""

    @model_validator(mode="after")
    def _headers_have_a_reader(self) -> Self:
        if self.headers and self.language == "python":
            raise ValueError(f"Python is not built, so nothing would read the headers {sorted(self.headers)}")
        return self


class Calls(_Wire):
    """Load `source`, then call `entry_point` once per element of `calls`."""

    kind: Literal["calls"] = "calls"
    source: str
    entry_point: str
    calls: list[CallArguments]
    limits: Limits = Limits()


class CallArguments(_Wire):
    """Encoded positional and keyword arguments of one call."""

    args: list[JsonValue] = Field(default_factory=list)
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)


class Split(_Wire):
    """Run `test_source` in one cell; its calls of `entry_point` are answered by `source` in another cell.

    The test passes when it ends without an exception. `seed` seeds `random` in the test's cell.
    """

    kind: Literal["split"] = "split"
    source: str
    entry_point: str
    test_source: str
    seed: int = 0
    limits: Limits = Limits()


class Program(Executable):
    """Run `source` as a whole program with `stdin`; C++ is built first, once for equal text."""

    kind: Literal["program"] = "program"
    stdin: str = ""
    arguments: list[str] = Field(default_factory=list)
    """Of the command line."""
    files: dict[FileName, str] = Field(default_factory=dict)
    """In the current folder when the program starts, by name without a slash; count against the scratch space."""
    limits: Limits = Limits()


class Build(Executable):
    """Only build; `JobResult.build` says what came of it. Python needs no building and is not looked at."""

    kind: Literal["build"] = "build"


class Interactive(_Wire):
    """Run two programs, each one's output piped into the other's input. The job ends with the interactor.

    `limits` bind each of the two, but for `output_bytes`: what one writes the other reads, and nothing is kept of it. The
    interactor's exit status is the verdict; its arguments and files are its own. What `JobResult` says is said of the
    program; its exit status is None when it still ran as the interactor ended.
    """

    kind: Literal["interactive"] = "interactive"
    program: Executable
    interactor: Executable
    arguments: list[str] = Field(default_factory=list)
    files: dict[FileName, str] = Field(default_factory=dict)
    limits: Limits = Limits()


Job = Annotated[Calls | Split | Program | Build | Interactive, Field(discriminator="kind")]


class CallStatus(StrEnum):
    """How one call ended."""

    RETURNED = "returned"
    RAISED = "raised"
    TIMEOUT = "timeout"
    NOT_RUN = "not_run"


class CallResult(_Wire):
    """What one call gave."""

    status: CallStatus
    value: JsonValue = None
    """Encoded return value when `status` is `returned`."""
    exception: str = ""
    """Exception type name when `status` is `raised`."""


class LimitHit(StrEnum):
    """Which bound stopped a program."""

    CPU = "cpu"
    WALL = "wall"
    MEMORY = "memory"
    OUTPUT = "output"
    PROCESSES = "processes"
    """Only where the kernel cannot hold the process limit itself."""


class Built(_Wire):
    """What building came to."""

    ok: bool
    output: str = ""
    """What the compiler said, shortened."""
    limit: LimitHit | None = None
    cpu_s: float = 0.0
    """0 when it had been built before."""
    command: str = ""
    """Compiler and flags, for the record."""


class Ended(_Wire):
    """How the second program of a job ended."""

    exit_status: int | None = None
    limit: LimitHit | None = None
    stderr: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0


class JobResult(_Wire):
    """What a job gave. A broken sandbox is not a result: it raises SandboxError."""

    calls: list[CallResult] = Field(default_factory=list)
    """One per call of a `Calls` job, in order."""
    passed: bool | None = None
    """`Split` only: the test ended without an exception."""
    error: str = ""
    """Exception type and message of loading the source, or of the failed test; shortened."""
    exit_status: int | None = None
    limit: LimitHit | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_memory_bytes: int | None = None
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    backend: str = ""
    build: Built | None = None
    """Of the program, when it had to be built. A program that does not build did not run."""
    interactor: Ended | None = None
    """`Interactive` only. A missing interactor, or one that does not build, is a SandboxError: it is not the program's fault."""


class SandboxError(Exception):
    """The sandbox itself failed or refused to start. Never a verdict on the program."""


RUN_PATH: Final = "/run"
INFO_PATH: Final = "/info"
"""HTTP paths of the sandbox service: POST a Job, get a JobResult; GET backend name and self-test."""


class SandboxInfo(_Wire):
    """What isolates, and the proof taken at start-up."""

    backend: str
    isolated: bool
    """False for the plain subprocess, which is refused unless asked for."""
    probes: dict[str, bool] = Field(default_factory=dict)
    facts: dict[str, str] = Field(default_factory=dict)
