"""Scenario files in TOML, read and checked: every fault of a file is reported at once (interop specification 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from services.contract.assessment import nearest
from services.runner.failures import ScenarioError
from services.runner.scenario.agents import GREEN, RESERVED, ROLE, AgentSpec
from services.runner.scenario.model import Scenario, config_faults

_TABLES: Final = ("green_agent", "participants", "config")


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
        faults += config_faults(config, None if len(roles) != _count(raw.get("participants")) else roles)
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
