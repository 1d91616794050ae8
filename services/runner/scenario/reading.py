"""Scenario files in TOML, read and checked: every fault of a file is reported at once (interop specification 5).

Local files (endpoints), files of leaderboards (ids or images) and mixtures of both are told apart agent by agent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from services.contract.assessment import nearest
from services.runner.failures import ScenarioError
from services.runner.scenario.agents import GREEN, RESERVED, ROLE, AgentSpec
from services.runner.scenario.model import Scenario, config_faults, json_faults

_TABLES: Final = ("green_agent", "participants", "config")
_GREEN: Final = "green_agent"
_FIRST_BYTES: Final = 4096


def read_scenario(path: Path, *, any_config: bool = False, allow_image: bool = False) -> Scenario:
    """Read and check a scenario file. Raises ScenarioError with every fault, syntax errors as file:line:column.

    `any_config`: green is not ours, so its config is not checked. `allow_image`: agents may be named by image in a GitHub
    workflow too, where leaderboards want ids, which say whose agent it is.
    """
    if is_amber(path):
        raise ScenarioError(
            f"{path}: an Amber scenario: `assay scenario check` examines it, `amber compile` makes it run"
        )
    raw = _tables(path)
    faults = _faults_of_a_file(raw, allow_image=allow_image)
    try:
        scenario = parse_scenario(raw, name=path.stem, path=path, any_config=any_config)
    except ScenarioError as error:
        raise ScenarioError(*error.faults, *(f"{path}: {fault}" for fault in faults)) from None
    if faults:
        raise ScenarioError(*(f"{path}: {fault}" for fault in faults))
    return scenario


def is_amber(path: Path) -> bool:
    """Whether a file is a JSON5 document, as Amber's are, by its first character; False when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_FIRST_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"/"}
    except OSError:
        return False


def parse_scenario(
    raw: Mapping[str, object], *, name: str, path: Path | None = None, any_config: bool = False
) -> Scenario:
    """Check the tables of a scenario. Raises ScenarioError with every fault."""
    faults = [f"{key}: unknown table{nearest(key, _TABLES)}" for key in raw if key not in _TABLES]
    green = _green(raw.get(_GREEN), faults)
    participants = _participants(raw.get("participants"), faults)
    config = raw.get("config", {})
    if isinstance(config, dict):
        unsayable = list(json_faults(config, "config"))
        # Wrong participants would be reported twice, as missing roles of the config.
        complete = len(participants) == _count(raw.get("participants"))
        roles = [agent.role for agent in participants] if complete else None
        faults += unsayable or ([] if any_config else config_faults(config, roles))
    else:
        faults.append(f"config: expected a table, got {config!r}")
    if green is not None:
        one_of_them = isinstance(config, dict) and "purple_role" in config
        faults += meetings(green, participants, together=any_config or one_of_them)
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
            "any_config": any_config,
        }
    )


def _tables(path: Path) -> dict[str, object]:
    import tomli  # noqa: PLC0415 - TOML 1.1; the standard library refuses newlines in inline tables

    try:
        # Not read_text: it would change lone carriage returns, which TOML forbids, into line ends.
        return tomli.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error})") from None
    except tomli.TOMLDecodeError as error:
        raise ScenarioError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from None
    except RecursionError:
        raise ScenarioError(f"{path}: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise ScenarioError(f"{path}: {error}") from None


def _faults_of_a_file(raw: Mapping[str, object], *, allow_image: bool) -> list[str]:
    """What holds for files only: a scenario whose ids were resolved holds ids and images."""
    faults = []
    listed = raw.get("participants")
    tables = [(_GREEN, raw.get(_GREEN)), *_numbered(listed if isinstance(listed, list) else [])]
    for where, table in tables:
        if not isinstance(table, dict) or "image" not in table:
            continue
        if "agentbeats_id" in table and "endpoint" not in table:
            faults.append(f"{where}: agentbeats_id and image are both given: choose one")
        if os.environ.get("GITHUB_ACTIONS") and not allow_image:
            faults.append(f"{where}.image: in a GitHub workflow name the agent by agentbeats_id, or give --allow-image")
    return faults


def _numbered(tables: list[object]) -> list[tuple[str, object]]:
    return [(f"participants[{number}]", table) for number, table in enumerate(tables, 1)]


def _count(raw: object) -> int:
    return len(raw) if isinstance(raw, list) else -1


def _green(raw: object, faults: list[str]) -> AgentSpec | None:
    if not isinstance(raw, dict):
        faults.append(f"{_GREEN}: a table with endpoint, image or agentbeats_id is needed")
        return None
    named = sorted({"role", "name"} & set(raw))
    faults += [f"{_GREEN}.{key}: green has no name but green; remove the line" for key in named]
    rest = {key: value for key, value in raw.items() if key not in named}
    return _agent(_GREEN, rest | {"role": GREEN}, faults)


def _participants(raw: object, faults: list[str]) -> list[AgentSpec]:
    if not isinstance(raw, list) or not raw:
        faults.append("participants: at least one [[participants]] table is needed")
        return []
    agents: list[AgentSpec] = []
    seen: set[str] = set()
    for where, table in _numbered(raw):
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


def _agent(where: str, table: Mapping[str, object], faults: list[str]) -> AgentSpec | None:
    known = sorted(set(AgentSpec.model_fields) - {"free_port"})
    strange = sorted(key for key in table if key not in known)
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


def meetings(green: AgentSpec, participants: Sequence[AgentSpec], *, together: bool = False) -> list[str]:
    """Green as its own participant, and agents that are started at one address.

    `together`: all participants are there at the same time; else they are examined one after the other.
    """
    faults = []
    for number, agent in enumerate(participants):
        same_id = agent.agentbeats_id is not None and agent.agentbeats_id == green.agentbeats_id
        if same_id or (_place(agent) is not None and _place(agent) == _place(green)):
            key = "agentbeats_id" if same_id else "endpoint"
            faults.append(f"{agent.role}: its {key} is that of green; an agent cannot examine itself")
            continue
        present = (green, *participants[:number]) if together else (green,)
        others = [other.role for other in present if _port(other) == _port(agent) is not None]
        if others:
            faults.append(f"{agent.role}: it would listen where {others[0]} does; give each its own port")
    return faults


def _place(agent: AgentSpec) -> tuple[str, int, str] | None:
    """Host, port and path of its endpoint: behind one gateway the path tells agents apart."""
    if agent.endpoint is None:
        return None
    parts = urlsplit(agent.endpoint)
    host = (parts.hostname or "").rstrip(".")
    here = host in {"localhost", "0.0.0.0", "::1"} or host.startswith("127.")  # noqa: S104 - compared, not bound
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return "127.0.0.1" if here else host, port, parts.path.strip("/")


def _port(agent: AgentSpec) -> tuple[str, int] | None:
    """Where an agent that is started here would listen."""
    place = _place(agent)
    return None if place is None or agent.kind == "endpoint" else place[:2]
