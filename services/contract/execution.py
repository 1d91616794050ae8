"""Wire types of the sandbox: what may be run, under which limits, and what came of it.

The sandbox holds no test's expected value: callers compare outside. Values cross as the tagged JSON of `Encoded`
(code-and-math specification 5 "Values"); `unencodable` values equal nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Limits(_Wire):
    """Bounds of one program. Time verdicts are CPU time; wall time only catches sleepers."""

    cpu_s: float = Field(default=20.0, gt=0)
    call_cpu_s: float = Field(default=6.0, gt=0)
    """CPU seconds of one call in call mode."""
    wall_s: float = Field(default=60.0, gt=0)
    memory_bytes: int = Field(default=1 << 30, gt=0)
    processes: int = Field(default=32, gt=0)
    open_files: int = Field(default=64, gt=0)
    output_bytes: int = Field(default=1 << 20, gt=0)
    file_bytes: int = Field(default=16 << 20, gt=0)
    scratch_bytes: int = Field(default=64 << 20, gt=0)


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


class Program(_Wire):
    """Run `source` as a whole program with `stdin`."""

    kind: Literal["program"] = "program"
    source: str
    stdin: str = ""
    limits: Limits = Limits()


Job = Annotated[Calls | Split | Program, Field(discriminator="kind")]


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
