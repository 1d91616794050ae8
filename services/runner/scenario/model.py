"""Who takes part and what is asked, whatever file it was read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from math import isfinite
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from services.contract.assessment import PURPLE_TOKEN, RequestError, parse_config
from services.contract.secrets import register_secret
from services.runner.environment import without_literal_secrets
from services.runner.failures import ScenarioError
from services.runner.scenario.agents import AgentSpec

RUNNER_KEYS: Final = frozenset({"plan_only", "plan_digest", "completed", "stream_transcripts"})
"""Config keys that the runner sets itself."""
API_KEY: Final = "api_key"
"""The one key of `config` that holds a secret."""


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
    """As written; checked against the contract unless `any_config`."""
    any_config: bool = Field(default=False, exclude=True)
    """Green is not ours: its config is passed on as it stands."""

    @field_validator("config")
    @classmethod
    def _keys_are_secrets(cls, config: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in _keys(config):
            register_secret(key)
        return config

    @property
    def purple(self) -> AgentSpec:
        """The participant under test; the first of several."""
        return self.purples[0]

    @property
    def purples(self) -> tuple[AgentSpec, ...]:
        """The participants to examine, each in an assessment of its own: the one that purple_role names, else all."""
        wanted = self.config.get("purple_role")
        return tuple(agent for agent in self.participants if agent.role == wanted) or self.participants

    def asked_config(self) -> dict[str, JsonValue]:
        """`config` as green is asked for it: what the table of the one purple says of speaking to it is in it."""
        agent = self.purple
        told: dict[str, JsonValue] = {
            "purple_a2a_version": agent.a2a_version,
            "purple_card_url": agent.card_url,
            "purple_token_env": None if agent.token_env is None else PURPLE_TOKEN,
        }
        return self.config | {key: value for key, value in told.items() if value is not None}

    def agents(self) -> tuple[AgentSpec, ...]:
        """All of them, green first."""
        return (self.green, *self.participants)

    def only(self, role: str) -> Scenario:
        """Green and this participant alone. Raises KeyError for a role that is not there."""
        chosen = {agent.role: agent for agent in self.participants}[role]
        config = self.config | ({"purple_role": role} if "purple_role" in self.config else {})
        return self.model_copy(update={"participants": (chosen,), "config": config})

    def with_config(self, **values: JsonValue) -> Scenario:
        """The scenario with these config keys set. Raises ScenarioError when the config is wrong then."""
        changed = self.model_copy(update={"config": self.config | values})
        roles = [agent.role for agent in self.participants]
        if not self.any_config and (faults := config_faults(changed.config, roles)):
            raise ScenarioError(*faults)
        return changed

    def storable(self) -> dict[str, JsonValue]:
        """The scenario as the journal keeps it: literal secrets become references to variables, a judge's key is left out."""

        def safe(agent: AgentSpec) -> dict[str, JsonValue]:
            kept = agent if agent.env is None else agent.model_copy(update={"env": without_literal_secrets(agent.env)})
            table: dict[str, JsonValue] = kept.model_dump(mode="json", exclude_none=True)
            return table | ({"free_port": agent.free_port} if agent.free_port else {})

        return {
            "name": self.name,
            "path": self.path,
            "green": safe(self.green),
            "participants": [safe(agent) for agent in self.participants],
            "config": {name: _without_keys(value) for name, value in self.config.items()},
        }


def config_faults(config: Mapping[str, object], roles: Sequence[str] | None) -> list[str]:
    """Faults of a config for our green; `roles` None leaves out what depends on the participants."""
    faults = [f"config.{key}: the runner sets it" for key in sorted(RUNNER_KEYS & set(config))]
    try:
        parsed = parse_config({key: value for key, value in config.items() if key not in RUNNER_KEYS})
    except RequestError as error:
        return [*faults, *error.faults]
    if roles is not None and parsed.purple_role is not None and parsed.purple_role not in roles:
        faults.append(f"config.purple_role {parsed.purple_role!r} is no participant; roles: {', '.join(roles)}")
    return faults


_DEEPEST: Final = 100


def json_faults(value: object, path: str, depth: int = 0) -> Iterator[str]:
    """Where a value of a file cannot be said in JSON: dates and times, numbers that are none, and what has no end."""
    if depth > _DEEPEST:
        yield f"{path[:80]}...: nested too deeply"
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from json_faults(item, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from json_faults(item, f"{path}[{number}]", depth + 1)
    elif isinstance(value, float) and not isfinite(value):
        yield f"{path}: {value} is no number that JSON knows"
    elif isinstance(value, date | time):
        yield f"{path}: a date or time travels as text: write it in quotes"
