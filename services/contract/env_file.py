"""`.env` files: variables beside a scenario or an agent. The process environment beats them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

SETTLED: Final = "ASSAY_ENVIRONMENT_SETTLED"
"""Set for an agent whose variables the scenario names one by one: it looks for no `.env` of its own."""
_LINE: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)$")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


class EnvFileError(Exception):
    """A file cannot be read, or lines of it are wrong. `faults` names each, never its value."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file. Raises EnvFileError.

    `NAME=value`, `export` allowed, comments after `#`; single quotes keep everything, double quotes know backslash escapes.
    Values may not span lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvFileError(f"{path}: cannot be read as an environment file ({error})") from None
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
        raise EnvFileError(*faults)
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
