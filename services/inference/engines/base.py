"""The shape of an engine. Nothing here starts a process: an engine says how, a launcher does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from services.inference.failures import UsageError
from services.inference.planning.planner import Plan
from services.inference.planning.presets import EngineName


class EngineRefusalError(UsageError):
    """The engine cannot do what is asked: a flag, a dtype or a parser that it does not have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """A LoRA adapter that is served as a model of its own."""

    name: str
    path: Path
    rank: int
    """The least that engines allow which holds it."""
    gib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """How the model of a plan is to be served; the same for all replicas."""

    served_name: str
    """What /v1/models lists. TensorRT-LLM takes the name of the folder of its weights, the reference engine is `reference`."""
    revision: str | None = None
    """Commit that was resolved and fetched before the launch; the engine then stays offline. None: nothing was fetched."""
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
    weights: str | None = None
    """Folder of the fetched checkpoint, as the engine sees it; None: by the preset's id. TensorRT-LLM takes nothing else."""
    templates: str | None = None
    """Folder of the engine's chat templates, as the engine sees it; in a container `Engine.image_templates`. None: there are
    none, since wheels lack them; a model that needs one is then refused with the remedy."""
    key_file: str | None = None
    """Holds the key that clients must send; None: no key. Only for engines with `takes_key`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What to execute. `argv` is never a shell string."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """Variables besides the inherited ones, never a secret."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables whose value is the content of a file: name and path, as the engine sees it. An engine that reads its key from
    a variable only, as vLLM does, leaves the last step to the launcher: it reads the file into the child's environment when it
    starts the child (a job or a container: `NAME=$(cat PATH) exec ARGV`), so that no value is in argv, script or compose file."""
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
    takes_key: ClassVar[bool]
    """It can demand a key of its clients without showing it to other users of the machine."""
    image_templates: ClassVar[str | None]
    """Folder of chat templates in its image."""

    def command(self, plan: Plan, serving: Serving, place: Place) -> Command:
        """The command line of one replica. Raises EngineRefusalError with every reason."""
        ...
