"""Where data sets lie on this machine, and how one comes here: named folders, the cache, then the published source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from services.green_agent.data import origins
from services.green_agent.data.cache import Cache, Listing, file_sha256, safe_member
from services.green_agent.data.errors import DataError
from services.green_agent.data.registry import MOVING, GitHubOrigin, HubOrigin, PackageOrigin, Source, sources

__all__ = ["DataError", "Located", "Store"]


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
        given = Path(text).expanduser()
        if given.is_absolute():
            if given.exists():
                return Located(path=given, origin=f"path {given.name}")
            raise DataError(f"{text}: does not exist")
        for folder in self.folders:
            if (folder / given).exists():
                return Located(path=folder / given, origin=f"path {given.as_posix()}")
        if self.mirror is not None and (self.mirror / given).exists():
            return Located(path=self.mirror / given, origin=f"mirror {given.as_posix()}")
        guided = _guided(given.as_posix())
        found = None if guided is None else self._named_by_guide(*guided)
        if found is not None:
            return found
        raise DataError(f"{text}: not found; tried {self._tried(guided)}")

    def member(self, name: str, member: str, *, revision: str | None = None, repo: str | None = None) -> Located:
        """One file of a registered data set: from the mirror, the cache, or its source unless offline. Raises DataError.

        `revision` and `repo` replace those of the registry; a mirror does not know them and is then passed over.
        """
        return _Wanted.of(name, revision=revision, repo=repo).file(safe_member(member), self.mirror)

    def members(
        self, name: str, pattern: str, *, revision: str | None = None, repo: str | None = None
    ) -> Sequence[Located]:
        """All files of a registered data set whose names match a glob, by name. Raises DataError, never returns nothing.

        `*` crosses folders: `*.parquet` matches `data/train.parquet`.
        """
        return _Wanted.of(name, revision=revision, repo=repo).files(pattern, self.mirror)

    def _named_by_guide(self, name: str, member: str) -> Located | None:
        """What the guide's suites call `data/options/questions.json` and the like, from mirror or cache."""
        wanted = _Wanted.of(name)
        return (wanted.here(member, self.mirror) if member else None) or wanted.folder(member, self.mirror)

    def _tried(self, guided: tuple[str, str] | None) -> str:
        places = ["the working directory", "the folder of the suite"][: len(self.folders)]
        if guided is None:
            return f"{' and '.join(places)}; give a path that exists"
        mirror = "ASSAY_DATA_FROM is not set" if self.mirror is None else "the folder of ASSAY_DATA_FROM"
        return (
            f"{', '.join(places)}, {mirror}, the cache; `assay data pull {guided[0]}` brings it, "
            "with `--from DIR` where there is no network"
        )


def _guided(text: str) -> tuple[str, str] | None:
    """Data set and member that a path of the guide stands for."""
    for name, entry in sources().items():
        if entry.guide_path and (text == entry.guide_path or text.startswith(entry.guide_path + "/")):
            return name, text[len(entry.guide_path) :].strip("/")
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """A data set at a revision, and the ways to it."""

    name: str
    entry: Source
    revision: str
    published: bool
    """True when it is what the registry names, which a mirror may hold and whose digests are known."""

    @classmethod
    def of(cls, name: str, *, revision: str | None = None, repo: str | None = None) -> _Wanted:
        known = sources()
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise DataError(f"no data set {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")
        entry = known[name]
        pinned = MOVING if entry.origin is None else entry.origin.revision
        other_repo = isinstance(entry.origin, HubOrigin) and repo not in {None, entry.origin.repo}
        if other_repo:
            origin = HubOrigin(kind="hub", repo=repo or "", revision=revision or MOVING)
            entry = entry.model_copy(update={"origin": origin, "sha256": {}})
            name = f"{name}@{origin.repo.replace('/', '--')}"
            pinned = MOVING
        return cls(
            name=name,
            entry=entry,
            revision=revision or pinned,
            published=not other_repo and revision in {None, pinned},
        )

    @property
    def cache(self) -> Cache:
        return Cache(name=self.name)

    @property
    def mirror_folder(self) -> str:
        return self.entry.mirror or self.name

    def mirrored(self, mirror: Path | None) -> Path | None:
        return mirror / self.mirror_folder if mirror is not None and self.published else None

    def file(self, member: str, mirror: Path | None) -> Located:
        return self.here(member, mirror) or self.fetch(member)

    def files(self, pattern: str, mirror: Path | None) -> list[Located]:
        folder = self.mirrored(mirror)
        if folder is not None and folder.is_dir():
            names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            if mirrored := [name for name in names if fnmatchcase(name, pattern)]:
                return [self.file(name, mirror) for name in mirrored]
        names = [name for name in sorted(self.listing()) if fnmatchcase(name, pattern)]
        if not names:
            raise DataError(f"{self.entry.title}: no file matches {pattern!r}; {self.entry.remedy}")
        return [self.file(name, mirror) for name in names]

    def here(self, member: str, mirror: Path | None) -> Located | None:
        """The file from the mirror, the cache or an installed package, without any network."""
        folder = self.mirrored(mirror)
        if folder is not None and (folder / member).is_file():
            self.check(member, folder / member)
            return Located(path=folder / member, origin=f"mirror {self.mirror_folder}/{member}")
        if isinstance(self.entry.origin, PackageOrigin):
            return self.packaged(member)
        commit = self.cache.held(self.revision)
        path = None if commit is None else self.cache.file(commit, member)
        if commit is None or path is None:
            return None
        return self.located(path, commit, member)

    def check(self, member: str, path: Path) -> None:
        """Raise DataError unless the file has the digest the registry names."""
        expected = self.entry.sha256.get(member) if self.published else None
        if expected is not None and (digest := file_sha256(path)) != expected:
            raise DataError(
                f"{self.entry.title}: sha256 of {member} is {digest}, expected {expected}; {self.entry.remedy}"
            )

    def packaged(self, member: str) -> Located | None:
        """A member of a data set that comes inside a Python package; that is the only place it comes from."""
        origin = self.entry.origin
        if not isinstance(origin, PackageOrigin) or member not in self.entry.members:
            return None
        try:
            path = origins.package_file(origin)
        except DataError as error:
            raise DataError(f"{self.entry.title}: {error}; {self.entry.remedy}") from None
        self.check(member, path)
        return Located(path=path, origin=f"{origin.words} {origin.revision}")

    def fetch(self, member: str) -> Located:
        """Download a file into the cache. Raises DataError."""
        self.allow_network(member)
        try:
            if isinstance(self.entry.origin, HubOrigin):
                return self.from_hub(self.entry.origin, member)
            if isinstance(self.entry.origin, GitHubOrigin):
                return self.from_github(self.entry.origin, member)
        except DataError as error:
            raise DataError(f"{self.entry.title}: {error}; {self.entry.remedy}") from None
        raise DataError(f"{self.entry.title}: there is no file {member!r}; {self.entry.remedy}")

    def from_hub(self, origin: HubOrigin, member: str) -> Located:
        commit = self.commit()
        expected = self.entry.sha256.get(member) or self.listing().get(member)
        with self.cache.draft_folder() as folder:
            got = origins.hub_file(origin, member, commit=commit, folder=folder)
            return self.located(self.cache.put(commit, member, got, expected=expected), commit, member)

    def from_github(self, origin: GitHubOrigin, member: str) -> Located:
        expected = self.entry.sha256.get(member)
        with self.cache.draft_folder() as folder:
            got = origins.github_file(origin, member, folder=folder)
            path = self.cache.put(origin.revision, member, got, expected=expected)
        return self.located(path, origin.revision, member)

    def commit(self) -> str:
        """The commit of the wanted revision, resolved once and held."""
        held = self.cache.held(self.revision)
        if held is not None:
            return held
        if not isinstance(self.entry.origin, HubOrigin):
            return self.revision
        self.allow_network("its revision")
        commit, listing = origins.hub_listing(self.entry.origin, self.revision)
        held = self.cache.hold(self.revision, commit)
        if held == commit:
            self.cache.keep_listing(commit, listing)
        return held

    def listing(self) -> Listing:
        """What the revision holds, with digests where its source publishes them. Raises DataError."""
        if not isinstance(self.entry.origin, HubOrigin):
            return {member: self.entry.sha256.get(member) for member in self.entry.members}
        commit = self.commit()
        kept = self.cache.listing(commit)
        if kept is not None:
            return kept
        if commit.startswith(LOCAL):
            return {member: self.cache.digest(commit, member) for member in self.cache.members(commit)}
        self.allow_network("its list of files")
        _, listing = origins.hub_listing(self.entry.origin, commit)
        self.cache.keep_listing(commit, listing)
        return listing

    def allow_network(self, what: str) -> None:
        """Raise DataError when downloads are forbidden."""
        if origins.offline():
            raise DataError(
                f"{self.entry.title}: {what} is not on this machine and downloads are off; {self.entry.remedy}"
            )

    def located(self, path: Path, commit: str, member: str) -> Located:
        words = "cache" if self.entry.origin is None else self.entry.origin.words
        return Located(path=path, origin=f"{words}@{commit} {member}")

    def folder(self, inside: str, mirror: Path | None) -> Located | None:
        """A folder of the data set in the mirror or the cache; its files are checked like single ones."""
        mirrored = self.mirrored(mirror)
        if mirrored is not None and (mirrored / inside).is_dir():
            for path in sorted((mirrored / inside).rglob("*")):
                self.check(path.relative_to(mirrored).as_posix(), path)
            return Located(path=mirrored / inside, origin=f"mirror {self.mirror_folder}/{inside}".rstrip("/"))
        commit = self.cache.held(self.revision)
        names = [] if commit is None else self.cache.members(commit)
        inner = [name for name in names if not inside or name.startswith(inside + "/")]
        if commit is None or not inner:
            return None
        for name in inner:
            self.cache.file(commit, name)
        return self.located(self.cache.folder / commit / inside, commit, inside or "(all files)")


LOCAL = "local-"
"""Begins the revision of a copy from a folder whose commit nobody knows."""
