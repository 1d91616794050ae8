"""Where data sets lie on this machine, and how one comes here: named folders, the cache, then the published source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


class DataError(Exception):
    """A data set is missing, broken or not the published one. The text names it and the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A file or folder of a data set that is here."""

    path: Path
    origin: str
    """Where it came from, without paths of this machine: for example `hub HiThink-Research/BizFinBench.v2@<revision>`."""


def _mirror() -> Path | None:
    configured = os.environ.get("ASSAY_DATA_FROM")
    return Path(configured) if configured else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Finds data sets. Hashable, so that loaded data can be kept by what they were loaded from."""

    folders: tuple[Path, ...] = field(default_factory=lambda: (Path.cwd(),))
    """Where relative paths of a suite are tried, in order: the working directory, then the suite's folder."""
    mirror: Path | None = field(default_factory=_mirror)
    """Folder with copies of data sets (`ASSAY_DATA_FROM`), laid out as `data/registry.yaml` says."""

    def path(self, text: str) -> Located:
        """The file or folder a suite names. Raises DataError naming the places tried."""
        raise NotImplementedError

    def member(self, name: str, member: str, *, revision: str | None = None) -> Located:
        """One file of a registered data set: from the mirror, the cache, or its source unless offline. Raises DataError."""
        raise NotImplementedError

    def members(self, name: str, pattern: str, *, revision: str | None = None) -> Sequence[Located]:
        """All files of a registered data set whose names match a glob. Raises DataError, never returns nothing."""
        raise NotImplementedError
