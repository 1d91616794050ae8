"""What is known about each data set before it is read: `registry.yaml` and `known_issues.yaml`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Source(BaseModel):
    """One data set of the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    title: str
    source: str
    """Where it was published, with its version."""
    licence: str
    rows: int = Field(gt=0)
    id_field: str
    file_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    content_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    remedy: str
    """What to do when it is absent or broken."""


class KnownIssue(BaseModel):
    """A fault of some rows and what is done about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: str
    """Short stable identifier."""
    rows: tuple[str, ...] = Field(min_length=1)
    action: Literal["kept", "mended"]
    """`kept`: scored as it is. `mended`: the scorer takes care of it."""
    reason: str


def source(name: str) -> Source:
    """The registry's entry. Raises KeyError for an unknown name."""
    return _sources()[name]


def known_issues(name: str) -> tuple[KnownIssue, ...]:
    """Known faults of a data set; empty when none is known."""
    return _issues().get(name, ())


@cache
def _sources() -> dict[str, Source]:
    return TypeAdapter(dict[str, Source]).validate_python(_read("registry.yaml"))


@cache
def _issues() -> dict[str, tuple[KnownIssue, ...]]:
    return TypeAdapter(dict[str, tuple[KnownIssue, ...]]).validate_python(_read("known_issues.yaml"))


def _read(name: str) -> object:
    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
