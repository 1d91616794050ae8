"""The shape of an engine. Nothing here starts a process: an engine says how, a launcher does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from services.inference.failures import UsageError
from services.inference.planner import Plan
from services.inference.presets import EngineName


class EngineRefusalError(UsageError):
    """The engine cannot do what is asked: a flag, a dtype or a parser that it does not have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """A LoRA adapter that is served as a model of its own."""

    name: str
    path: Path
    rank: int
    gib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """How the model of a plan is to be served; the same for all replicas."""

    served_name: str
    """What /v1/models lists."""
    revision: str | None = None
    thinking: bool | None = None
    """None: as the model does by itself."""
    adapters: tuple[Adapter, ...] = ()
    deterministic: bool = False
    """Batch-invariant mode."""
    allow_remote_code: bool = False
    rope_scaling: str | None = None
    """Such as `yarn:2.0`."""
    tool_parser: str | None = None
    """Overrides the preset's."""
    reasoning_parser: str | None = None
    engine_args: tuple[tuple[str, str | None], ...] = ()
    """Anything else, `--KEY VALUE` or `--KEY`; recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one replica runs."""

    index: int
    """0-based number of the replica."""
    host: str
    port: int
    program: str | None = None
    """Executable of the engine; None: by its name on PATH."""
    gpus: tuple[str, ...] = ()
    """UUIDs for CUDA_VISIBLE_DEVICES; empty inside a container or a job, which see only their own."""
    cpu: bool = False
    """The engine is a CPU build."""
    cache: str | None = None
    """HF_HOME; None: the user's own."""
    key_file: str | None = None
    """Holds the key that clients must send; None: no key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What to execute. `argv` is never a shell string."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """Variables besides the inherited ones; secrets are references to files, never values."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that must exist first: name in the server's folder and content. `{folder}` in argv stands for that folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartFault:
    """What an engine's error text means."""

    cause: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFacts:
    """What a running engine says about itself; None where it does not."""

    version: str | None = None
    kv_tokens: int | None = None
    """Size of the KV cache."""
    concurrency: float | None = None
    """Full-length sequences at once, by the engine's own count."""


class Engine(Protocol):
    """One engine."""

    name: ClassVar[EngineName]
    health_path: ClassVar[str]

    def command(self, plan: Plan, serving: Serving, place: Place) -> Command:
        """The command line of one replica. Raises EngineRefusalError with every reason."""
        ...

    def fault(self, stderr: str) -> StartFault | None:
        """The cause of a failed start, by the end of its output; None when it is not known."""
        ...

    def stage(self, stderr: str) -> str:
        """How far a start has come: `download`, `load`, `compile`, `listen`, or `start` when nothing was said."""
        ...

    def facts(self, output: str) -> EngineFacts:
        """What its log says about version and KV cache."""
        ...
