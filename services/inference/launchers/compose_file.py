"""A compose file as types: what we write of it, and nothing else. The same plan always gives the same text."""

from __future__ import annotations

from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from services.inference.failures import InferenceError

Condition = Literal["service_healthy", "service_completed_successfully"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Device(_Part):
    """GPUs of the host, each by its number; a mere count would give every replica the first."""

    driver: Literal["nvidia"] = "nvidia"
    device_ids: tuple[str, ...]
    capabilities: tuple[Literal["gpu"], ...] = ("gpu",)


class Reservations(_Part):
    """What the engine of containers keeps free."""

    devices: tuple[Device, ...]


class Resources(_Part):
    """See Reservations."""

    reservations: Reservations


class Deploy(_Part):
    """See Reservations."""

    resources: Resources


class Healthcheck(_Part):
    """How a container's health is found out. Durations as compose writes them."""

    test: tuple[str, ...]
    interval: str
    timeout: str
    retries: int
    start_period: str


class Dependency(_Part):
    """What another service must have reached before this one starts."""

    condition: Condition
    required: bool | None = None
    """None: yes, as compose has it."""


class Ulimits(_Part):
    """-1 is no limit."""

    memlock: int = -1
    stack: int = 67_108_864


class Aliases(_Part):
    """Names of a service on one network."""

    aliases: tuple[str, ...]


class Mounted(_Part):
    """A config file of the project in a container."""

    source: str
    target: str


class Bind(_Part):
    """A folder of the host, read only. Written out, since a path may hold the colons of the short form."""

    type: Literal["bind"] = "bind"
    source: str
    target: str
    read_only: Literal[True] = True


class Service(_Part):
    """One service. What is not said is left to compose."""

    image: str | None = None
    profiles: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    """An empty one takes the image's away."""
    command: tuple[str, ...] | None = None
    environment: dict[str, str] | None = None
    volumes: tuple[str | Bind, ...] = ()
    secrets: tuple[str, ...] = ()
    configs: tuple[Mounted, ...] = ()
    networks: dict[str, Aliases | None] | None = None
    ports: tuple[str, ...] = ()
    depends_on: dict[str, Dependency] | None = None
    deploy: Deploy | None = None
    shm_size: str | None = None
    ipc: Literal["host"] | None = None
    ulimits: Ulimits | None = None
    cap_drop: tuple[Literal["ALL"], ...] = ()
    security_opt: tuple[str, ...] = ()
    read_only: bool | None = None
    tmpfs: tuple[str, ...] = ()
    init: bool | None = None
    healthcheck: Healthcheck | None = None
    stop_grace_period: str | None = None
    restart: Literal["no"] | None = None
    pull_policy: Literal["never"] | None = None
    labels: dict[str, str] | None = None


class Network(_Part):
    """A network of the project."""

    internal: bool | None = None
    driver_opts: dict[str, str] | None = None


class Volume(_Part):
    """A volume; its name is the same in every project, so that weights are downloaded once."""

    name: str


class Secret(_Part):
    """A file of the host that a container reads as /run/secrets/NAME."""

    file: str


class Config(_Part):
    """A file whose text stands in the compose file."""

    content: str


class ComposeFile(_Part):
    """The whole file."""

    name: str
    services: dict[str, Service]
    networks: dict[str, Network]
    volumes: dict[str, Volume] | None = None
    secrets: dict[str, Secret] | None = None
    configs: dict[str, Config] | None = None


def literal(text: str) -> str:
    """A text in which compose shall not look for variables."""
    return text.replace("$", "$$")


def render(file: ComposeFile, *, comment: str) -> str:
    """The file as YAML under a comment."""
    head = "".join(f"# {line}\n" if line else "#\n" for line in comment.splitlines())
    content = file.model_dump(mode="json", exclude_none=True)
    return head + yaml.dump(_without_empty(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def check(text: str) -> None:
    """Raise InferenceError for a text that is no compose file of ours."""
    try:
        ComposeFile.model_validate(yaml.load(text, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, ValidationError) as error:
        raise InferenceError(f"the compose file would be wrong: {error}") from error


_MAY_BE_EMPTY: Final = frozenset({"entrypoint"})
_NUMERIC: Final = frozenset("0123456789+.")
_ODD_BREAKS: Final = frozenset("\x85\u2028\u2029")


def _without_empty(content: object) -> object:
    """Lists that say nothing are left out; an empty entrypoint says something."""
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if value != [] or key in _MAY_BE_EMPTY}
        return {key: _without_empty(value) for key, value in kept.items()}
    return content


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, and never refers back to an earlier place."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Scripts as blocks, so that people can read them; what YAML 1.2 could take for a number, such as 1e3, in quotes."""
        if _ODD_BREAKS & set(data):  # the emitter folds these like line ends, the reader then drops them
            style: str | None = '"'
        else:
            style = "|" if "\n" in data else "'" if data[:1] in _NUMERIC else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        return super().increase_indent(flow, False)  # noqa: FBT003 - as the library calls it


_Dumper.add_representer(str, _Dumper.represent_str)
