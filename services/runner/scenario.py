"""Scenario files: who takes part and what is asked (interop specification 5). Reading only; starting is `participants`.

Local form: agents by `endpoint` (with or without `cmd`) or `image`. Every fault of a file is reported at once.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from services.contract.assessment import RequestError, nearest, parse_config
from services.contract.secrets import register_secret
from services.runner.environment import NAME, reference_fault, without_literal_secrets
from services.runner.failures import ScenarioError

GREEN: Final = "green"
REFERENCE: Final = "reference"
"""`model_endpoint` of the engine without weights that comes with Assay; the runner starts it."""
RESERVED: Final = frozenset({"green-agent", "agentbeats-client", "gateway", GREEN, "proxy", "results"})
ROLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
IMAGE: Final = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
RUNNER_KEYS: Final = frozenset({"plan_only", "plan_digest", "completed", "stream_transcripts"})
"""Config keys that the runner sets itself."""
API_KEY: Final = "api_key"
"""The one key of `config` that holds a secret."""
_TABLES: Final = ("green_agent", "participants", "config")


def _text_value(value: object) -> object:
    """Values of `env` may be numbers and booleans; a process gets text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _identifier(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


EnvValue = Annotated[str, BeforeValidator(_text_value)]


class Limits(BaseModel):
    """Bounds of a container."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cpus: float | None = Field(default=None, gt=0)
    memory: str | None = Field(default=None, pattern=r"^\d+[bkmgBKMG]?$")
    """Docker's form, for example `2g`."""
    pids: int | None = Field(default=None, gt=0)


class AgentSpec(BaseModel):
    """One agent of a scenario, as its table says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    role: str
    """Name in the run: logs, containers and results use it."""
    endpoint: str | None = None
    """Address; without it the agent's port is chosen when it starts."""
    cmd: str | None = None
    """Command line, split by shlex, run without a shell in its own process group."""
    image: str | None = None
    """Container image to start."""
    agentbeats_id: Annotated[str | None, BeforeValidator(_identifier)] = None
    env: dict[str, EnvValue] | None = None
    """Variables as written, references unresolved. None: the agent inherits our whole environment."""
    args: tuple[str, ...] = ()
    """Appended to `cmd` or to the image's command."""
    cwd: str | None = None
    """Working folder of `cmd`, relative to the current one."""
    inherit_env: bool | tuple[str, ...] | None = None
    """true: our whole environment; false: PATH, HOME, LANG, LC_*, TMPDIR; a list: these and the names in it."""
    a2a_version: Literal["1.0", "0.3"] | None = None
    card_url: Literal["follow"] | None = None
    token_env: str | None = None
    """Variable with the bearer token of green; made up for the run when it is not set and green has `cmd` or `image`."""
    start_timeout: float | None = Field(default=None, gt=0)
    """Seconds until the card must be there."""
    limits: Limits | None = None
    model_endpoint: str | None = None
    """URL given to the agent as OPENAI_BASE_URL and OPENAI_API_BASE, or `reference`."""
    free_port: bool = Field(default=False, exclude=True)
    """Ours, not in files: append `--port 0 --ready-file FILE` to `cmd` and read the address from the file."""

    @field_validator("endpoint", "model_endpoint")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is None or value == REFERENCE:
            return value
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
            raise ValueError("expected an http or https URL without user info")
        if parts.port == 0:
            raise ValueError("port 0 is no address")
        return value

    @field_validator("cmd")
    @classmethod
    def _splits(cls, value: str | None) -> str | None:
        if value is not None and not shlex.split(value):
            raise ValueError("expected a command")
        return value

    @field_validator("image")
    @classmethod
    def _is_image(cls, value: str | None) -> str | None:
        if value is not None and (len(value) > 255 or not IMAGE.fullmatch(value)):
            raise ValueError("expected an image reference [host[:port]/]path[:tag][@sha256:digest]")
        return value

    @field_validator("env")
    @classmethod
    def _names_and_references(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, template in (value or {}).items():
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no variable name: letters, digits and _, not beginning with a digit")
            if "\0" in template:
                raise ValueError(f"{name}: a NUL character cannot be passed")
            if fault := reference_fault(template):
                raise ValueError(f"{name}: {fault}")
        return value

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        started = self.cmd is not None or self.image is not None
        if self.cmd is not None and self.image is not None:
            raise ValueError("cmd and image are both given: choose one")
        if self.endpoint is None and self.image is None and not self.free_port:
            raise ValueError("an endpoint or an image is needed to run locally")
        if self.image is not None and self.endpoint is not None:
            _check_published(self.endpoint)
        if not started:
            self._refuse("an agent that is already running", "env", "args", "cwd", "inherit_env", "model_endpoint")
        if self.image is None:
            self._refuse("an agent without image", "limits")
        if self.cmd is None:
            self._refuse("an agent without cmd", "cwd", "inherit_env")
        if self.role != GREEN:
            self._refuse("a participant: green calls it, and the request cannot carry it", *_GREEN_ONLY)
        return self

    def _refuse(self, whom: str, *keys: str) -> None:
        if given := [key for key in keys if getattr(self, key)]:
            raise ValueError(f"{', '.join(given)} has no effect on {whom}")


_GREEN_ONLY: Final = ("a2a_version", "card_url", "token_env")


def _check_published(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.hostname not in {"127.0.0.1", "localhost"} or parts.port is None:
        raise ValueError("endpoint of an image is where its port is published: http://127.0.0.1:PORT")


def _keys(value: JsonValue) -> Iterator[str]:
    """Every `api_key` in it, such as those of the judge and its panel."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from [item] if name == API_KEY and isinstance(item, str) else _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)


def _without_keys(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _without_keys(item) for name, item in value.items() if name != API_KEY}
    return [_without_keys(item) for item in value] if isinstance(value, list) else value


class Scenario(BaseModel):
    """Who takes part, and what is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    path: str | None = None
    """File it was read from; `.env` beside it holds variables."""
    green: AgentSpec
    participants: tuple[AgentSpec, ...]
    """At least one in a file; none where only green is needed."""
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """As written; checked against the contract."""

    @field_validator("config")
    @classmethod
    def _keys_are_secrets(cls, config: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in _keys(config):
            register_secret(key)
        return config

    @property
    def purple(self) -> AgentSpec:
        """The participant under test."""
        wanted = self.config.get("purple_role")
        return next((agent for agent in self.participants if agent.role == wanted), self.participants[0])

    def with_config(self, **values: JsonValue) -> Scenario:
        """The scenario with these config keys set. Raises ScenarioError when the config is wrong then."""
        changed = self.model_copy(update={"config": self.config | values})
        if faults := _config_faults(changed.config, [agent.role for agent in self.participants]):
            raise ScenarioError(*faults)
        return changed

    def storable(self) -> dict[str, JsonValue]:
        """The scenario as the journal keeps it: literal secrets become references to variables, a judge's key is left out."""

        def safe(agent: AgentSpec) -> dict[str, JsonValue]:
            kept = agent if agent.env is None else agent.model_copy(update={"env": without_literal_secrets(agent.env)})
            table: dict[str, JsonValue] = kept.model_dump(mode="json", exclude_none=True)
            return table | ({"free_port": True} if agent.free_port else {})

        return {
            "name": self.name,
            "path": self.path,
            "green": safe(self.green),
            "participants": [safe(agent) for agent in self.participants],
            "config": {name: _without_keys(value) for name, value in self.config.items()},
        }


def read_scenario(path: Path) -> Scenario:
    """Read and check a scenario file. Raises ScenarioError with every fault, syntax errors as file:line:column."""
    import tomli  # noqa: PLC0415 - TOML 1.1; the standard library refuses newlines in inline tables

    try:
        raw = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error})") from None
    except tomli.TOMLDecodeError as error:
        raise ScenarioError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from None
    return parse_scenario(raw, name=path.stem, path=path)


def parse_scenario(raw: Mapping[str, object], *, name: str, path: Path | None = None) -> Scenario:
    """Check the tables of a scenario. Raises ScenarioError with every fault."""
    faults = [f"{key}: unknown table{nearest(key, _TABLES)}" for key in raw if key not in _TABLES]
    green = _green(raw.get("green_agent"), faults)
    participants = _participants(raw.get("participants"), faults)
    config = raw.get("config", {})
    if isinstance(config, dict):
        roles = [agent.role for agent in participants]
        # Wrong participants would be reported twice, as missing roles of the config.
        faults += _config_faults(config, None if len(roles) != _count(raw.get("participants")) else roles)
    else:
        faults.append(f"config: expected a table, got {config!r}")
    if faults or green is None:
        where = "" if path is None else f"{path}: "
        raise ScenarioError(*(f"{where}{fault}" for fault in faults))
    return Scenario.model_validate(
        {
            "name": name,
            "path": None if path is None else str(path.resolve()),
            "green": green,
            "participants": participants,
            "config": config,
        }
    )


def _count(raw: object) -> int:
    return len(raw) if isinstance(raw, list) else -1


def _green(raw: object, faults: list[str]) -> AgentSpec | None:
    if not isinstance(raw, dict):
        faults.append("green_agent: a table with endpoint or image is needed")
        return None
    return _agent("green_agent", {**raw, "role": GREEN}, faults, unknown={"role", "name"} & set(raw))


def _participants(raw: object, faults: list[str]) -> list[AgentSpec]:
    if not isinstance(raw, list) or not raw:
        faults.append("participants: at least one [[participants]] table is needed")
        return []
    agents: list[AgentSpec] = []
    seen: set[str] = set()
    for number, table in enumerate(raw, 1):
        where = f"participants[{number}]"
        if not isinstance(table, dict):
            faults.append(f"{where}: expected a table, got {table!r}")
            continue
        role = _role(where, table, faults)
        if role is None:
            continue
        if role.lower() in seen:
            faults.append(f"{where}: role {role!r} is there already (upper and lower case are the same)")
        seen.add(role.lower())
        tables = {key: value for key, value in table.items() if key != "name"} | {"role": role}
        if (agent := _agent(where, tables, faults)) is not None:
            agents.append(agent)
    return agents


def _role(where: str, table: Mapping[str, object], faults: list[str]) -> str | None:
    given = [table[key] for key in ("role", "name") if key in table]
    role = given[0] if given else None
    if not given:
        faults.append(f"{where}: role is needed")
    elif len(given) == 2 and given[0] != given[1]:
        faults.append(f"{where}: role {given[0]!r} and name {given[1]!r} differ: give one")
    elif not isinstance(role, str) or not ROLE.fullmatch(role):
        faults.append(f"{where}: role {role!r}: a letter, then at most 62 letters, digits, _ or -")
    elif role.lower() in RESERVED:
        faults.append(f"{where}: role {role!r} is reserved; also: {', '.join(sorted(RESERVED - {role.lower()}))}")
    else:
        return role
    return None


def _agent(
    where: str, table: Mapping[str, object], faults: list[str], unknown: Sequence[str] | set[str] = ()
) -> AgentSpec | None:
    known = sorted(set(AgentSpec.model_fields) - {"free_port"})
    strange = sorted({*unknown, *(key for key in table if key not in known)})
    faults += [f"{where}.{key}: unknown key{nearest(key, known)}" for key in strange]
    try:
        agent = AgentSpec.model_validate({key: value for key, value in table.items() if key in known})
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            path = ".".join(map(str, fault["loc"]))
            # The value may hold a secret: only what is no text of `env` is repeated.
            shown = "" if not fault["loc"] or fault["loc"][0] == "env" else f", got {fault['input']!r}"
            message = fault["msg"].removeprefix("Value error, ")
            faults.append(f"{where}{'.' if path else ''}{path}: {message}{shown}")
        return None
    return agent


def _config_faults(config: Mapping[str, object], roles: Sequence[str] | None) -> list[str]:
    """Faults of a config; `roles` None leaves out what depends on the participants."""
    faults = [f"config.{key}: the runner sets it" for key in sorted(RUNNER_KEYS & set(config))]
    try:
        parsed = parse_config({key: value for key, value in config.items() if key not in RUNNER_KEYS})
    except RequestError as error:
        return [*faults, *error.faults]
    if roles is None:
        return faults
    if parsed.purple_role is not None and parsed.purple_role not in roles:
        faults.append(f"config.purple_role {parsed.purple_role!r} is no participant; roles: {', '.join(roles)}")
    elif parsed.purple_role is None and len(roles) > 1:
        faults.append(f"several participants ({', '.join(roles)}): name one in config.purple_role")
    return faults
