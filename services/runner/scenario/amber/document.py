"""JSON5 documents: read whole within a bound, because the parser is slow and recursive."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final, NoReturn

from pydantic import JsonValue

from services.runner.failures import ScenarioError

MAX_BYTES: Final = 128 * 1024
"""Real manifests have 1 to 8 KiB; the parser takes a second for this much."""
_PLACE: Final = re.compile(r"<string>:(\d+) (.*) at column (\d+)", re.DOTALL)


def read_document(path: Path) -> dict[str, JsonValue]:
    """The object in a JSON5 file. Raises ScenarioError, for a syntax error as file:line:column."""
    import json5  # noqa: PLC0415 - only scenarios of this form need it

    try:
        raw: JsonValue = json5.loads(_bounded_text(path), allow_duplicate_keys=False, parse_constant=_no_constant)
        # Half a surrogate pair could not be printed.
        json.dumps(raw, ensure_ascii=False).encode()
    except RecursionError:
        raise ScenarioError(f"{path}: nested too deeply") from None
    except ValueError as error:
        place = _PLACE.fullmatch(str(error))
        raise ScenarioError(f"{path}:{place[1]}:{place[3]}: {place[2]}" if place else f"{path}: {error}") from None
    if not isinstance(raw, dict):
        raise ScenarioError(f"{path}: expected an object, got {type(raw).__name__}")
    return raw


def _bounded_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error})") from None
    if len(data) > MAX_BYTES:
        raise ScenarioError(f"{path}: more than {MAX_BYTES // 1024} KiB, no manifest is that large")
    return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of a manifest")
