"""What `assay evaluate` was asked to do, and what is wrong with it. Nothing is started here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from services.contract.assessment import nearest
from services.contract.endpoints import EndpointError, agreed_urls, base_urls
from services.runner.failures import ScenarioError
from services.runner.rollouts.export import BASELINE

ALL: Final = ("imobench", "lcb_pro")
"""What `all` means, as in the guide."""
SELF_EVAL: Final = "self_eval_sequential"
STRATEGIES: Final = (BASELINE, SELF_EVAL)
REFERENCE: Final = "reference"
"""Model path of the engine without weights."""
CONTAINER: Final = "container"
OWNED: Final = {
    "--detach": "",
    "--dry-run": "--dry-run",
    "--json": "--json",
    "--launcher": "--launcher",
    "--log-dir": "",
    "--model-name": "--model-name",
    "--num-servers": "--num-services",
    "--num-services": "--num-services",
    "--registry": "",
    "--server-timeout": "--timeout",
    "--skip-server-start": "--skip-launch",
    "--start-port": "--start-port",
    "--urls": "--endpoints",
}
"""Options of `inference up` that this command sets itself, and the option of this command that decides about each."""
_NO_KEY: Final = (
    "--up-options: --auth makes a key that the agents are not told: launch by `inference up`, then `inference export` and"
    " --skip-launch"
)
_DEFAULT_SERVERS: Final = 4
HOST: Final = "127.0.0.1"
LAST_PORT: Final = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The options of the command. None: not given."""

    model_path: str | None
    model_name: str | None
    num_services: int | None
    start_port: int | None
    benchmarks: str
    strategies: str
    output_dir: Path
    timeout_s: float
    skip_launch: bool
    skip_wait: bool
    cleanup: bool
    launcher_name: str | None
    """`local`, `compose`, `container` or `slurm`."""
    up_options: str | None
    submit: bool
    sbatch_args: tuple[str, ...]
    endpoints: str | None
    num_samples: int | None
    chains: int | None
    iterations: int | None
    num_tasks: int | None
    judge: str | None
    judge_base: str | None
    judge_provider: str | None
    seed: int
    concurrency: int
    max_tokens: int
    reply_timeout_s: float
    resume: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The benchmarks, each once."""
        named = [part for name in _parts(self.benchmarks) for part in (ALL if name == "all" else (name,))]
        return tuple(dict.fromkeys(named))

    @property
    def ways(self) -> tuple[str, ...]:
        """The strategies, each once."""
        return tuple(dict.fromkeys(_parts(self.strategies)))

    @property
    def model(self) -> str | None:
        """The id the servers must list: as given, else the last part of the path."""
        if self.model_name is not None or self.model_path is None:
            return self.model_name
        return self.model_path.rstrip("/").rpartition("/")[2]

    @property
    def launcher(self) -> str:
        """As `inference up` calls it."""
        return "compose" if self.launcher_name == CONTAINER else self.launcher_name or "local"

    @property
    def num_servers(self) -> int | None:
        """To launch; None: as many as the machine has room for."""
        if self.num_services is None and self.model_path == REFERENCE:
            return _DEFAULT_SERVERS
        return self.num_services

    @property
    def up_words(self) -> list[str]:
        """Further options of `inference up`. Raises ValueError for quotes without an end."""
        words = shlex.split(self.up_options or "")
        # Nothing to load: all may start at once.
        return ["--stagger-delay", "0", *words] if self.model_path == REFERENCE else words

    @property
    def local_urls(self) -> tuple[str, ...]:
        """Where servers of this machine are that nobody named."""
        first = 8000 if self.start_port is None else self.start_port
        count = _DEFAULT_SERVERS if self.num_services is None else self.num_services
        return tuple(f"http://{HOST}:{port}/v1" for port in range(first, first + count))


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the model is served already."""

    urls: tuple[str, ...]
    """Base URLs ending in /v1."""
    source: str
    """What decided, for people."""


def check(asked: Asked) -> None:
    """Raises ScenarioError with every fault of the options; an option without an effect is one."""
    faults = [*_selection_faults(asked), *_server_faults(asked)]
    last = asked.local_urls[-1].rpartition(":")[2].removesuffix("/v1")
    if asked.skip_launch and int(last) > LAST_PORT:
        faults.append(f"--start-port and --num-services: the last port would be {last}")
    if faults:
        raise ScenarioError(*faults)


def places(asked: Asked, variables: Mapping[str, str]) -> Places:
    """Where servers are that run. Raises ScenarioError for addresses that are wrong or contradict each other."""
    local = Places(urls=asked.local_urls, source="--start-port and --num-services")
    try:
        if asked.endpoints is not None:
            source, urls = "--endpoints", base_urls(asked.endpoints, name="--endpoints")
        else:
            source, urls = agreed_urls(variables, model=asked.model)
    except EndpointError as error:
        raise ScenarioError(str(error)) from None
    if asked.endpoints is not None and not urls:
        raise ScenarioError("--endpoints: name at least one server, such as http://host:8000")
    if urls and (asked.num_services is not None or asked.start_port is not None):
        raise ScenarioError(
            f"--num-services and --start-port have no effect where {source} names the servers: drop one or the other"
        )
    return Places(urls=urls, source=source) if urls else local


def _selection_faults(asked: Asked) -> list[str]:
    faults = [
        f"--strategies: no strategy {name!r}{nearest(name, STRATEGIES)}" for name in set(asked.ways) - {*STRATEGIES}
    ]
    if not asked.names:
        faults.append("--benchmarks: name at least one, or all")
    if not asked.ways:
        faults.append(f"--strategies: name at least one of {', '.join(STRATEGIES)}")
    if asked.num_samples is not None and BASELINE not in asked.ways:
        faults.append(f"--num-samples has no effect without the strategy {BASELINE}")
    for name, value in (("--chains", asked.chains), ("--iterations", asked.iterations)):
        if value is not None and SELF_EVAL not in asked.ways:
            faults.append(f"{name} has no effect without the strategy {SELF_EVAL}")
    if asked.judge is None and (asked.judge_base is not None or asked.judge_provider is not None):
        faults.append("--judge-base and --judge-provider have no effect without --judge")
    if asked.judge_base is not None and not _is_here(asked.judge_base):
        # A key of the environment never goes to an address that came with a request.
        faults.append(
            "--judge-base: only a judge of this machine; for any other set OPENAI_EVAL_API_BASE (and OPENAI_EVAL_API_KEY) or,"
            " with --judge-provider anthropic, ANTHROPIC_BASE_URL, without --judge-base"
        )
    return faults


def _is_here(url: str) -> bool:
    host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _server_faults(asked: Asked) -> list[str]:
    faults = [] if asked.submit or not asked.sbatch_args else ["--sbatch-arg has no effect without --submit"]
    if asked.skip_launch:
        idle = {
            "--cleanup": asked.cleanup,
            "--launcher": asked.launcher_name is not None,
            "--up-options": asked.up_options is not None,
        }
        named = [name for name, given in idle.items() if given]
        return [*faults, *(f"{name} has no effect with --skip-launch: nothing is launched" for name in named)]
    if asked.endpoints is not None:
        faults.append("--endpoints names servers that run: add --skip-launch")
    if asked.skip_wait:
        faults.append("--skip-wait needs --skip-launch: what was launched a moment ago does not answer yet")
    if asked.model_path is None:
        faults.append("--model-path is needed; with --skip-launch the --model-name of what is served is enough")
    elif asked.model_path.startswith("-"):
        faults.append(f"--model-path: expected a preset, a hub id or a directory, got {asked.model_path!r}")
    return [*faults, *_up_faults(asked)]


def _up_faults(asked: Asked) -> list[str]:
    try:
        words = asked.up_words
    except ValueError as error:
        return [f"--up-options: {error}"]
    names = [word.partition("=")[0] for word in words]
    owned = [name for name in names if name in OWNED]
    keyed = [_NO_KEY] if "--auth" in names else []
    return keyed + [
        f"--up-options: {word} is set by this command itself" + (f", by {OWNED[word]}" if OWNED[word] else "")
        for word in owned
    ]


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
