"""Variables of agents: `.env` files, `${NAME}` references in scenario values, and what a process inherits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.contract import env_file
from services.contract.secrets import HARMLESS_VALUES, MASK, SECRET_NAME, redact, register_environment
from services.runner.failures import ScenarioError

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")
"""What an agent with an `env` table still gets from us, besides `LC_*` (interop specification 5.3)."""

_REFERENCE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<kind>:-|:\?)(?P<text>(?:[^{}$]|\$\$)*))?\}"
    r"|(?P<bad>))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """`${NAME}`, `${NAME:-default}` or `${NAME:?text}` in a value."""

    name: str
    default: str | None = None
    """None: the variable has to be set."""
    hint: str = ""
    """What its author says when it is not."""


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file. Raises ScenarioError naming each wrong line, never its value."""
    try:
        return env_file.read_env_file(path)
    except env_file.EnvFileError as error:
        raise ScenarioError(*error.faults) from None


def variables_beside(file: Path | None, env_file: Path | None) -> dict[str, str]:
    """Our environment over an environment file: `env_file`, else the `.env` beside `file` if there is one.

    Raises ScenarioError as `read_env_file`. Secrets of the file are masked from now on.
    """
    beside = None if file is None else file.with_name(".env")
    found: dict[str, str] = {}
    if env_file is not None:
        found = read_env_file(env_file)
    elif beside is not None and beside.is_file():
        found = read_env_file(beside)
    register_environment(found)
    return found | dict(os.environ)


def reference_fault(template: str) -> str | None:
    """What is wrong with the references in a value, or None. The message does not repeat the value."""
    if any(match["bad"] is not None for match in _REFERENCE.finditer(template)):
        return "a lone $: write $$ for a dollar, ${NAME}, ${NAME:-default} or ${NAME:?text} for a variable"
    return None


def parts_of(template: str) -> tuple[str | Reference, ...]:
    """A value as literal texts, `$$` already one dollar, and references. Raises ScenarioError for any other dollar."""
    if fault := reference_fault(template):
        raise ScenarioError(fault)
    parts: list[str | Reference] = []
    end = 0
    for match in _REFERENCE.finditer(template):
        parts += [template[end : match.start()], "$" if match["dollar"] else _reference(match)]
        end = match.end()
    parts.append(template[end:])
    return tuple(part for part in parts if part != "")


def _reference(match: re.Match[str]) -> Reference:
    text = (match["text"] or "").replace("$$", "$")
    if match["kind"] == ":-":
        return Reference(name=match["name"], default=text)
    return Reference(name=match["name"], hint=text)


def references(template: str) -> tuple[Reference, ...]:
    """The references in a value, in order."""
    return tuple(part for part in parts_of(template) if isinstance(part, Reference))


def resolve(template: str, variables: Mapping[str, str]) -> str:
    """The value with references replaced. Raises ScenarioError naming a variable that is missing or empty."""
    return "".join(part if isinstance(part, str) else _value(part, variables) for part in parts_of(template))


def _value(reference: Reference, variables: Mapping[str, str]) -> str:
    if value := variables.get(reference.name):
        return value
    if reference.default is not None:
        return reference.default
    raise ScenarioError(f"variable {reference.name} is not set" + (f": {reference.hint}" if reference.hint else ""))


def holds_literal_secret(name: str, template: str) -> bool:
    """Whether a value of `env` holds a secret itself instead of naming the variable that does.

    By the variable's name or by the shape of a key. The default of a reference counts as a literal.
    """
    found = parts_of(template)
    named = [part for part in found if isinstance(part, Reference)]
    texts = [part if isinstance(part, str) else part.default or part.hint for part in found]
    if any(MASK in redact(text) for text in texts):
        return True
    secret = SECRET_NAME.search(name) is not None
    if any((secret or SECRET_NAME.search(one.name)) and (one.default or "") not in HARMLESS_VALUES for one in named):
        return True
    return secret and not named and any(text not in HARMLESS_VALUES for text in texts)


def without_literal_secrets(table: Mapping[str, str]) -> dict[str, str]:
    """The table as it may be stored: a literal secret becomes a reference to the variable of its own name."""
    return {name: f"${{{name}}}" if holds_literal_secret(name, value) else value for name, value in table.items()}


def inherited(own: Mapping[str, str], *, everything: bool, names: Iterable[str] = ()) -> dict[str, str]:
    """What a process gets of our environment: everything, or the harmless few and `names`."""
    if everything:
        return dict(own)
    kept = {*INHERITED, *names}
    return {name: value for name, value in own.items() if name in kept or name.startswith("LC_")}
