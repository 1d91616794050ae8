"""Values of `--purple` and `--purple-env`, read as agents. What a value is, is decided by its look and by the programs here."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from services.runner.failures import ScenarioError
from services.runner.scenario import GREEN, AgentSpec, Scenario
from services.runner.scenario.agents import RESERVED, ROLE, image_fault
from services.runner.scenario.reading import meetings

NAME_LIMIT: Final = 40
"""Of a name that is made from a value; roles may have 63."""
_NAMED: Final = re.compile(rf"({ROLE.pattern})=(.+)", re.DOTALL)
_SETTING: Final = re.compile(rf"(?:({ROLE.pattern}):)?([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?", re.DOTALL)
_INTERPRETERS: Final = re.compile(r"python[0-9.]*|uv|node|bash|sh|env|run")


def bundled_green(url: str | None) -> AgentSpec:
    """The green that is running at `url`, else our own on a free port."""
    if url is None:
        return AgentSpec(role=GREEN, cmd="green-agent serve", free_port=True)
    return AgentSpec(role=GREEN, endpoint=url)


def with_purples(scenario: Scenario, values: Sequence[str], settings: Sequence[str]) -> Scenario:
    """The scenario with the agents of `--purple` in the place of its participants. Raises ScenarioError with every fault."""
    purples = read_purples(values, settings)
    if faults := meetings(scenario.green, list(purples)):
        raise ScenarioError(*faults)
    config = {name: value for name, value in scenario.config.items() if name != "purple_role"}
    return scenario.model_copy(update={"participants": purples, "config": config})


def read_purples(values: Sequence[str], settings: Sequence[str] = ()) -> tuple[AgentSpec, ...]:
    """`[NAME=]IMAGE|COMMAND|URL` and `[NAME:]KEY[=VALUE]`. Raises ScenarioError with every fault."""
    faults: list[str] = []
    named = _named(values, faults)
    tables = _tables(settings, list(named), faults)
    agents = [
        agent for role, value in named.items() if (agent := _agent(role, value, tables.get(role), faults)) is not None
    ]
    if faults:
        raise ScenarioError(*faults)
    return tuple(agents)


def _named(values: Sequence[str], faults: list[str]) -> dict[str, str]:
    """Name to value, in order. A name that is given must be unique; one that is made gets a number."""
    split = [(match[1], match[2]) if (match := _NAMED.fullmatch(value)) else (None, value) for value in values]
    given = [name for name, _ in split if name is not None]
    lower = [name.lower() for name in given]
    faults += [f"--purple: the name {name} is given twice" for name in given if lower.count(name.lower()) > 1]
    faults += [f"--purple: the name {name} is reserved" for name in given if name.lower() in RESERVED]
    taken = {*lower, *RESERVED}
    found: dict[str, str] = {}
    for name, value in split:
        role = name or _unique(_made(value), taken)
        taken.add(role.lower())
        found[role] = value
    return found


def _made(value: str) -> str:
    """A name from a value: host and port, the last part of an image, or the program."""
    if _is_url(value):
        text = urlsplit(value).netloc.rpartition("@")[2]
    elif len(words := value.split()) == 1 and not value.startswith((".", "/")):
        text = value.partition("@")[0].rpartition("/")[2]
    else:
        programs = [Path(word).stem for word in words if not word.startswith("-")]
        text = next((name for name in programs if not _INTERPRETERS.fullmatch(name)), "purple")
    clean = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-_")
    return (clean if clean[:1].isalpha() else f"purple-{clean}".rstrip("-"))[:NAME_LIMIT]


def _unique(name: str, taken: set[str]) -> str:
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name.lower() not in taken else next(one for one in numbered if one.lower() not in taken)


def _tables(settings: Sequence[str], roles: Sequence[str], faults: list[str]) -> dict[str, dict[str, str]]:
    """The `env` tables. Without VALUE the value is a reference to our own variable, so that no secret is stored."""
    tables: dict[str, dict[str, str]] = {}
    for setting in settings:
        match = _SETTING.fullmatch(setting)
        if match is None:
            # Not repeated: it may hold a secret.
            faults.append("--purple-env: expected [NAME:]KEY or [NAME:]KEY=VALUE")
            continue
        role, key, value = match.groups()
        if role is not None and role not in roles:
            faults.append(f"--purple-env {role}:{key}: no --purple is called {role}; there are: {', '.join(roles)}")
            continue
        template = f"${{{key}}}" if value is None else value.replace("$", "$$")
        for one in roles if role is None else (role,):
            tables.setdefault(one, {})[key] = template
    return tables


def _agent(role: str, value: str, env: Mapping[str, str] | None, faults: list[str]) -> AgentSpec | None:
    table: dict[str, object] = {"role": role} | ({} if env is None else {"env": dict(env)})
    try:
        return AgentSpec.model_validate(table | _kind(value))
    except ScenarioError as error:
        faults += [f"--purple {role}: {fault}" for fault in error.faults]
    except ValidationError as error:
        faults += [
            f"--purple {role}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
    return None


def _kind(value: str) -> dict[str, object]:
    """What a value stands for, as keys of AgentSpec. Raises ScenarioError when it is nothing, or two things."""
    if _is_url(value):
        return {"endpoint": value}
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ScenarioError(f"{value!r} cannot be split into words ({error})") from None
    if not words:
        raise ScenarioError("it is empty: an image, a command or a URL is needed")
    program = words[0]
    is_path = program.startswith(("./", "../", "/"))
    if is_path or len(words) > 1 or _found(program):
        if not _found(program):
            raise ScenarioError(f"no program {program}: a command begins with one that is here")
        return {"cmd": value, "free_port": "told"}
    if fault := image_fault(program):
        raise ScenarioError(f"{value!r} is no URL, no program here and no image: {fault}")
    if Path(program).exists():
        raise ScenarioError(
            f"{program} is a file here and could be an image: write ./{program} for the command, or {program}:latest for"
            " the image"
        )
    return {"image": program}


def _found(program: str) -> bool:
    """As agents are started: our own programs first, then PATH."""
    here = Path(sys.executable).with_name(program) if "/" not in program else Path(program)
    return (here.is_file() and shutil.which(str(here.resolve())) is not None) or shutil.which(program) is not None


def _is_url(value: str) -> bool:
    return value.startswith(("http://", "https://"))
