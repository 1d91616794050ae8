"""Variables of agents: `.env` files, `${NAME}` references in scenario values, and what a process inherits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from services.contract import env_file
from services.contract.secrets import HARMLESS_VALUES, MASK, SECRET_NAME, redact
from services.runner.failures import ScenarioError

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")
"""What an agent with an `env` table still gets from us, besides `LC_*` (interop specification 5.3)."""

_REFERENCE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<kind>:-|:\?)(?P<text>[^{}]*))?\}|(?P<bad>))"
)


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file. Raises ScenarioError naming each wrong line, never its value."""
    try:
        return env_file.read_env_file(path)
    except env_file.EnvFileError as error:
        raise ScenarioError(*error.faults) from None


def reference_fault(template: str) -> str | None:
    """What is wrong with the references in a value, or None. The message does not repeat the value."""
    if any(match["bad"] is not None for match in _REFERENCE.finditer(template)):
        return "a lone $: write $$ for a dollar, ${NAME}, ${NAME:-default} or ${NAME:?text} for a variable"
    return None


def references(template: str) -> list[str]:
    """Names of the variables that a value needs and has no default for."""
    return [m["name"] for m in _REFERENCE.finditer(template) if m["name"] is not None and m["kind"] != ":-"]


def resolve(template: str, variables: Mapping[str, str]) -> str:
    """The value with references replaced. Raises ScenarioError naming a variable that is missing or empty."""

    def replace(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        name, kind, text = match["name"], match["kind"], match["text"]
        if value := variables.get(name):
            return value
        if kind == ":-":
            return str(text)
        raise ScenarioError(f"variable {name} is not set" + (f": {text}" if text else ""))

    if fault := reference_fault(template):
        raise ScenarioError(fault)
    return _REFERENCE.sub(replace, template)


def without_literal_secrets(table: Mapping[str, str]) -> dict[str, str]:
    """The table as it may be stored: a literal secret becomes a reference to the variable of its own name."""

    def safe(name: str, value: str) -> str:
        literal = not references(value) and value not in HARMLESS_VALUES
        secret = literal and (SECRET_NAME.search(name) is not None or MASK in redact(value))
        return f"${{{name}}}" if secret else value

    return {name: safe(name, value) for name, value in table.items()}


def inherited(own: Mapping[str, str], *, everything: bool, names: Iterable[str] = ()) -> dict[str, str]:
    """What a process gets of our environment: everything, or the harmless few and `names`."""
    if everything:
        return dict(own)
    kept = {*INHERITED, *names}
    return {name: value for name, value in own.items() if name in kept or name.startswith("LC_")}
