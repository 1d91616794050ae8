"""Variables of agents: `.env` files, `${NAME}` references in scenario values, and what a process inherits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from services.contract.secrets import HARMLESS_VALUES, MASK, SECRET_NAME, redact
from services.runner.failures import ScenarioError

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")
"""What an agent with an `env` table still gets from us, besides `LC_*` (interop specification 5.3)."""

_REFERENCE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<kind>:-|:\?)(?P<text>[^{}]*))?\}|(?P<bad>))"
)
_LINE: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)$")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file. Raises ScenarioError naming each wrong line, never its value.

    `NAME=value`, `export` allowed, comments after `#`; single quotes keep everything, double quotes know backslash escapes.
    Values may not span lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as an environment file ({error})") from None
    found: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        value = None if match is None else _unquoted(match["value"].strip())
        if match is None or value is None:
            faults.append(f"{path}:{number}: expected NAME=value")
        else:
            found[match["name"]] = value
    if faults:
        raise ScenarioError(*faults)
    return found


def _unquoted(text: str) -> str | None:
    quote = text[:1]
    if quote not in {"'", '"'}:
        return re.split(r"\s#|^#", text, maxsplit=1)[0].rstrip()
    pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.fullmatch(pattern + r"\s*(?:#.*)?", text)
    if match is None:
        return None
    if quote == "'":
        return match[1]
    return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), match[1])


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
