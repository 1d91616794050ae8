"""A compose file as types: what is written of it, and nothing else. The same project always gives the same text.

Values of a scenario enter it as references or, through `literal`, as texts that compose leaves as they are.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from services.runner.environment import Reference, parts_of

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]+")
_WIDTH: Final = 100_000
"""Long values stay on one line."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dependency(_Part):
    """What another service must have reached before this one starts."""

    condition: Literal["service_healthy"] = "service_healthy"


class Healthcheck(_Part):
    """How a container's health is found out. Durations as compose writes them."""

    test: tuple[str, ...]
    interval: str = "5s"
    timeout: str = "3s"
    retries: int = 10
    start_period: str = "30s"


class Attachment(_Part):
    """A service on a network; its names there besides the service's own."""

    aliases: tuple[str, ...] | None = None


class Service(_Part):
    """One service. What is not said is left to compose."""

    image: str
    platform: Literal["linux/amd64"] | None = None
    container_name: str | None = None
    user: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...]
    environment: dict[str, str] | None = None
    volumes: tuple[str, ...] | None = None
    working_dir: str | None = None
    healthcheck: Healthcheck | None = None
    depends_on: dict[str, Dependency] | None = None
    stop_grace_period: str | None = None
    networks: dict[str, Attachment]
    cpus: float | None = None
    mem_limit: str | None = None
    pids_limit: int | None = None
    cap_drop: tuple[Literal["ALL", "NET_RAW"]] | None = None
    cap_add: tuple[str, ...] | None = None
    security_opt: tuple[str, ...] = ("no-new-privileges:true",)


class Network(_Part):
    """A network of the project."""

    driver: Literal["bridge"] = "bridge"
    internal: bool | None = None
    driver_opts: dict[str, str] | None = None


class ComposeFile(_Part):
    """A whole project."""

    services: dict[str, Service]
    networks: dict[str, Network]

    def text(self) -> str:
        """The file as YAML."""
        document = self.model_dump(mode="json", exclude_none=True)
        return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 and 1.2 read differently: `1e3` is a text for PyYAML and a number for compose."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if _PLAIN.fullmatch(value) else '"')


_Dumper.add_representer(str, _text)


def literal(text: str) -> str:
    """A text that compose leaves as it is."""
    return text.replace("$", "$$")


def needed(name: str) -> str:
    """A reference to a variable without which compose stops."""
    return f"${{{name}:?set {name} in .env}}"


def value(template: str) -> str:
    """A value of `env`, for compose: `${NAME}` must be set, `${NAME:-default}` may be."""
    return "".join(literal(part) if isinstance(part, str) else _reference(part) for part in parts_of(template))


def _reference(reference: Reference) -> str:
    if reference.default is not None:
        return f"${{{reference.name}:-{literal(reference.default)}}}"
    return f"${{{reference.name}:?{literal(reference.hint)}}}" if reference.hint else needed(reference.name)
