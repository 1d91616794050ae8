"""Who takes part and what is asked, whatever file it was read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from services.contract.assessment import RequestError, parse_config
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
        if faults := config_faults(changed.config, [agent.role for agent in self.participants]):
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


def config_faults(config: Mapping[str, object], roles: Sequence[str] | None) -> list[str]:
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
