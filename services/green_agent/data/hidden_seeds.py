"""Hidden seeds: numbers kept outside the repository, so that nobody can train on what is generated from them.

A suite names one; the number itself is never printed, logged or stored.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import yaml

from services.contract.assessment import nearest
from services.green_agent.data.errors import DataError

VARIABLE: Final = "ASSAY_HIDDEN_SEEDS"
"""Environment variable that names the file; `~/.assay/hidden_seeds.yaml` without it."""


def hidden_seed(name: str) -> int:
    """The seed called `name` in the file, a YAML mapping of names to integers.

    Raises DataError naming the remedy when the file or the name is missing. No message holds a seed.
    """
    seeds = _read(_file())
    if name not in seeds:
        raise DataError(
            f"no hidden seed is called {name!r}{nearest(name, seeds)}; add it to the file that {VARIABLE} names"
            " (else ~/.assay/hidden_seeds.yaml) as a line `name: integer`"
        )
    return seeds[name]


def _file() -> Path:
    configured = os.environ.get(VARIABLE)
    return Path(configured).expanduser() if configured else Path.home() / ".assay" / "hidden_seeds.yaml"


def _read(file: Path) -> dict[str, int]:
    remedy = f"{VARIABLE} names the file, else it is ~/.assay/hidden_seeds.yaml"
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise DataError(f"the file of hidden seeds cannot be read; {remedy}") from None
    except yaml.YAMLError:
        # The parser's message quotes the file, and so perhaps a seed.
        raise DataError(f"the file of hidden seeds is not valid YAML; {remedy}") from None
    if not isinstance(found, dict) or not all(map(_is_seed, found.items())):
        raise DataError(f"the file of hidden seeds must map names to integers; {remedy}")
    return found


def _is_seed(entry: tuple[object, object]) -> bool:
    name, seed = entry
    return isinstance(name, str) and isinstance(seed, int) and not isinstance(seed, bool)
