"""What people settled about single items of a question file, keyed by the sha256 of the item.

An item that is changed in the file has another digest, so that an old decision never acts on a new question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Override(BaseModel):
    """One decision. Benchmarks subclass it with what they can change."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Id of the item, for readers; the digest decides."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the item as `item_sha256` makes it."""
    reason: str = ""
    """Why the published item is not taken as it is."""


OverrideT = TypeVar("OverrideT", bound=Override)


def item_sha256(item: Mapping[str, JsonValue]) -> str:
    """Hex digest of an item, whatever the order of its keys and the layout of its file."""
    text = json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_overrides(package: str, model: type[OverrideT]) -> Mapping[str, OverrideT]:
    """The decisions in `overrides.yaml` of a package, by digest. Raises ValueError for an item that stands there twice."""
    text = files(package).joinpath("overrides.yaml").read_text(encoding="utf-8")
    entries = [model.model_validate(entry) for entry in yaml.safe_load(text)]
    by_digest = {entry.sha256: entry for entry in entries}
    if len(by_digest) != len(entries):
        raise ValueError(f"overrides.yaml of {package}: an item stands there twice")
    return by_digest
