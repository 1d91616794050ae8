"""Where data sets lie on this machine, and how one comes here: named folders, the cache, then the published source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.green_agent.data.cache import safe_member
from services.green_agent.data.dataset import AS_REGISTERED, Instead, Located, dataset
from services.green_agent.data.errors import DataError
from services.green_agent.data.registry import sources

__all__ = ["DataError", "Instead", "Located", "Store"]


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
        """The file or folder a suite names: in `folders`, in the mirror, or by its name in the guide's suites, in this order.

        Nothing is downloaded. Raises DataError naming the places tried.
        """
        given = _expanded(text)
        if given.is_absolute():
            if _there(given):
                return Located(path=given, origin=f"path {given.name}")
            raise DataError(f"{text}: does not exist")
        for folder in self.folders:
            if _there(folder / given):
                return Located(path=folder / given, origin=f"path {given.as_posix()}")
        if self.mirror is not None and _there(self.mirror / given):
            return Located(path=self.mirror / given, origin=f"mirror {given.as_posix()}")
        return self._named_by_guide(text, *_guided(given.as_posix()))

    def member(
        self, name: str, member: str, *, revision: str | None = None, instead: Instead = AS_REGISTERED
    ) -> Located:
        """One file of a registered data set: from the mirror, the cache, or its source unless offline. Raises DataError.

        A mirror knows the registered revision and repository alone, and is passed over for any other.
        """
        return dataset(name, _with(instead, revision)).file(safe_member(member), self.mirror)

    def members(
        self, name: str, pattern: str, *, revision: str | None = None, instead: Instead = AS_REGISTERED
    ) -> Sequence[Located]:
        """All files of a registered data set whose names match a glob, by name. Raises DataError, never returns nothing.

        `*` crosses folders: `*.parquet` matches `data/train.parquet`.
        """
        return dataset(name, _with(instead, revision)).files(pattern, self.mirror)

    def _named_by_guide(self, text: str, name: str, member: str) -> Located:
        """What the guide's suites call `data/options/questions.json` and the like, from mirror or cache."""
        places = ["the working directory", "the folder of the suite"][: len(self.folders)]
        places.append("ASSAY_DATA_FROM (not set)" if self.mirror is None else "the folder of ASSAY_DATA_FROM")
        if not name:
            raise DataError(f"{text}: not found; tried {', '.join(places)}")
        wanted = dataset(name)
        member = safe_member(member) if member else ""
        found = (wanted.here(member, self.mirror) if member else None) or wanted.folder(member, self.mirror)
        if found is None:
            raise DataError(f"{text}: not found; tried {', '.join(places)}, the cache; {wanted.entry.remedy}")
        return found


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise DataError(f"{text}: this machine knows no such user") from None


def _there(path: Path) -> bool:
    """False also for what this machine cannot look up: a name too long, a folder closed to us."""
    try:
        return path.exists()
    except OSError:
        return False


def _with(instead: Instead, revision: str | None) -> Instead:
    return instead if revision is None else replace(instead, revision=revision)


def _guided(text: str) -> tuple[str, str]:
    """Data set and member that a path of the guide stands for; empty for any other path."""
    for name, entry in sources().items():
        if entry.guide_path and (text == entry.guide_path or text.startswith(entry.guide_path + "/")):
            return name, text[len(entry.guide_path) :].strip("/")
    return "", ""
