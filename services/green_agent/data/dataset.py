"""One data set of the registry at one revision, and the ways to its files: mirror, installed package, cache, source."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from services.green_agent.data import origins
from services.green_agent.data.cache import Cache, Listing, file_sha256
from services.green_agent.data.errors import DataError
from services.green_agent.data.registry import (
    MOVING,
    GitHubOrigin,
    HubOrigin,
    PackageOrigin,
    ReleaseOrigin,
    Source,
    sources,
)

LOCAL: Final = "local-"
"""Begins the revision of a copy that came from a folder, whose commit nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A file or folder of a data set that is here."""

    path: Path
    origin: str
    """Where it came from, without paths of this machine: for example `hub HiThink-Research/BizFinBench.v2@<revision>`."""
    verified: bool = False
    """True for a file whose digest is in the registry and was compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A data set at a revision."""

    name: str
    """Of the registry; `<name>@<owner>--<repo>` when another repository takes the place of the registered one."""
    entry: Source
    revision: str
    published: bool
    """True when it is what the registry names, which a mirror may hold and whose digests are known."""
    cache_folder: Path | None = None
    """Where copies are kept; None: the cache of this machine."""

    @property
    def cache(self) -> Cache:
        """Its copies on this machine."""
        return Cache(name=self.name) if self.cache_folder is None else Cache(name=self.name, root=self.cache_folder)

    def mirrored(self, mirror: Path | None) -> Path | None:
        """Its folder in a mirror, there or not; None when the mirror cannot hold it."""
        return mirror / self.entry.folder_in_mirror(self.name) if mirror is not None and self.published else None

    def file(self, member: str, mirror: Path | None) -> Located:
        """One file, downloaded when it must be. Raises DataError."""
        return self.here(member, mirror) or self.fetch(member)

    def files(self, pattern: str, mirror: Path | None) -> list[Located]:
        """All files whose names match a glob, by name. Raises DataError, also when there is none."""
        names = [name for name in members_of(self.mirrored(mirror)) if fnmatchcase(name, pattern)]
        names = names or [name for name in sorted(self.listing()) if fnmatchcase(name, pattern)]
        if not names:
            raise DataError(f"{self.entry.title}: no file matches {pattern!r}; {self.entry.remedy}")
        return [self.file(name, mirror) for name in names]

    def here(self, member: str, mirror: Path | None) -> Located | None:
        """One file from the mirror, an installed package or the cache, without any network. Raises DataError if damaged."""
        folder = self.mirrored(mirror)
        if folder is not None and (folder / member).is_file():
            self.check(member, folder / member)
            origin = f"mirror {self.entry.folder_in_mirror(self.name)}/{member}"
            return Located(path=folder / member, origin=origin, verified=self._knows(member))
        if isinstance(self.entry.origin, PackageOrigin):
            return self._packaged(self.entry.origin, member)
        commit = self.cache.held(self.revision)
        path = None if commit is None else self.cache.file(commit, member)
        if commit is None or path is None:
            return None
        self.check(member, path)
        return self._located(path, commit, member)

    def folder(self, inside: str, mirror: Path | None) -> Located | None:
        """A folder of the data set in the mirror or the cache; its files are checked like single ones."""
        mirrored = self.mirrored(mirror)
        if mirrored is not None and (mirrored / inside).is_dir():
            for name in members_of(mirrored):
                if not inside or name.startswith(inside + "/"):
                    self.check(name, mirrored / name)
            words = f"mirror {self.entry.folder_in_mirror(self.name)}/{inside}".rstrip("/")
            return Located(path=mirrored / inside, origin=words)
        commit = self.cache.held(self.revision)
        names = [] if commit is None else self.cache.members(commit)
        inner = [name for name in names if not inside or name.startswith(inside + "/")]
        if commit is None or not inner:
            return None
        for name in inner:
            self.cache.file(commit, name)
        return self._located(self.cache.folder / commit / inside, commit, inside)

    def check(self, member: str, path: Path) -> None:
        """Raise DataError unless the file has the digest the registry names."""
        expected = self.entry.sha256.get(member) if self.published else None
        if expected is not None and (digest := file_sha256(path)) != expected:
            raise DataError(
                f"{self.entry.title}: sha256 of {member} is {digest}, expected {expected}; {self.entry.remedy}"
            )

    def fetch(self, member: str) -> Located:
        """Download a file into the cache. Raises DataError."""
        try:
            if isinstance(self.entry.origin, HubOrigin):
                return self._from_hub(self.entry.origin, member)
            if isinstance(self.entry.origin, GitHubOrigin):
                return self._from_github(self.entry.origin, member)
            if isinstance(self.entry.origin, ReleaseOrigin):
                return self._from_release(self.entry.origin, member)
        except DataError as error:
            raise DataError(f"{self.entry.title}: {error}; {self.entry.remedy}") from None
        raise DataError(f"{self.entry.title}: there is no file {member!r}; {self.entry.remedy}")

    def listing(self) -> Listing:
        """What the revision holds, with digests where its source publishes them. Raises DataError."""
        if not isinstance(self.entry.origin, HubOrigin):
            return {member: self.entry.sha256.get(member) for member in self.entry.members}
        try:
            commit = self.commit()
            if commit.startswith(LOCAL):
                return {member: self.cache.digest(commit, member) for member in self.cache.members(commit)}
            kept = self.cache.listing(commit)
            if kept is None:
                _allow_network("its list of files")
                _, kept = origins.hub_listing(self.entry.origin, commit)
                self.cache.keep_listing(commit, kept)
        except DataError as error:
            raise DataError(f"{self.entry.title}: {error}; {self.entry.remedy}") from None
        return kept

    def commit(self) -> str:
        """The commit of the wanted revision: resolved at the first pull, the same ever after. Raises DataError."""
        held = self.cache.held(self.revision)
        if held is not None or not isinstance(self.entry.origin, HubOrigin):
            return held or self.revision
        _allow_network("its revision")
        commit, listing = origins.hub_listing(self.entry.origin, self.revision)
        held = self.cache.hold(self.revision, commit)
        if held == commit:
            self.cache.keep_listing(commit, listing)
        return held

    def _packaged(self, origin: PackageOrigin, member: str) -> Located | None:
        """A member of a data set that comes inside a Python package; that is the only place it comes from."""
        if member not in self.entry.members:
            return None
        try:
            path = origins.package_file(origin)
        except DataError as error:
            raise DataError(f"{self.entry.title}: {error}; {self.entry.remedy}") from None
        self.check(member, path)
        return Located(path=path, origin=f"{origin.words} {origin.revision}", verified=self._knows(member))

    def _from_hub(self, origin: HubOrigin, member: str) -> Located:
        commit = self.commit()
        if commit.startswith(LOCAL):
            raise DataError(
                f"the copy that was pulled from a folder has no file {member!r}; pull it again with --update"
            )
        _allow_network(member)
        expected = self.entry.sha256.get(member) or self.listing().get(member)
        with self.cache.draft_folder() as folder:
            got = origins.hub_file(origin, member, commit=commit, folder=folder)
            return self._located(self.cache.put(commit, member, got, expected=expected), commit, member)

    def _from_github(self, origin: GitHubOrigin, member: str) -> Located:
        _allow_network(member)
        expected = self.entry.sha256.get(member) if self.published else None
        with self.cache.draft_folder() as folder:
            got = origins.github_file(origin, member, folder=folder)
            path = self.cache.put(origin.revision, member, got, expected=expected)
        return self._located(path, origin.revision, member)

    def _from_release(self, origin: ReleaseOrigin, member: str) -> Located:
        """The tag is held like a branch: what came first stays, since the files of a release can be replaced."""
        revision = self.commit()
        if revision.startswith(LOCAL):
            raise DataError(
                f"the copy that was pulled from a folder has no file {member!r}; pull it again with --update"
            )
        _allow_network(member)
        expected = self.entry.sha256.get(member) if self.published else None
        with self.cache.draft_folder() as folder:
            got = origins.release_file(origin, member, folder=folder)
            path = self.cache.put(revision, member, got, expected=expected)
        self.cache.hold(self.revision, revision)
        return self._located(path, revision, member)

    def _located(self, path: Path, commit: str, member: str) -> Located:
        words = "cache" if self.entry.origin is None else self.entry.origin.words
        return Located(path=path, origin=f"{words}@{commit} {member}".rstrip(), verified=self._knows(member))

    def _knows(self, member: str) -> bool:
        """True when the registry has the digest of this file, which every way to it compares."""
        return self.published and member in self.entry.sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class Instead:
    """What takes the place of what the registry says. None: nothing does."""

    revision: str | None = None
    repo: str | None = None
    """Another repository of the hub, `owner/name`."""
    cache: Path | None = None
    """Another folder for copies."""


AS_REGISTERED: Final = Instead()


def dataset(name: str, instead: Instead = AS_REGISTERED) -> Dataset:
    """A data set of the registry. Raises DataError."""
    known = sources()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise DataError(f"no data set {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")
    entry = known[name]
    pinned = MOVING if entry.origin is None else entry.origin.revision
    revision = instead.revision
    if isinstance(entry.origin, HubOrigin) and instead.repo not in {None, entry.origin.repo}:
        return _elsewhere(name, entry, instead)
    if isinstance(entry.origin, GitHubOrigin | ReleaseOrigin) and revision not in {None, pinned}:
        entry = entry.model_copy(update={"origin": _at(entry.origin, revision or "")})
    return Dataset(
        name=name,
        entry=entry,
        revision=revision or pinned,
        published=revision in {None, pinned},
        cache_folder=instead.cache,
    )


def members_of(folder: Path | None) -> list[str]:
    """Names of all files below a folder, sorted; none when it does not exist."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _elsewhere(name: str, entry: Source, instead: Instead) -> Dataset:
    repo = instead.repo or ""
    try:
        origin = HubOrigin(kind="hub", repo=repo, revision=instead.revision or MOVING)
    except ValidationError:
        raise DataError(f"{repo!r} is no data set of the hub, expected owner/name") from None
    entry = entry.model_copy(update={"origin": origin, "sha256": {}, "title": f"{entry.title} from {repo}"})
    return Dataset(
        name=f"{name}@{repo.replace('/', '--')}",
        entry=entry,
        revision=origin.revision,
        published=False,
        cache_folder=instead.cache,
    )


def _at(origin: GitHubOrigin | ReleaseOrigin, revision: str) -> GitHubOrigin | ReleaseOrigin:
    try:
        return type(origin).model_validate({**origin.model_dump(), "revision": revision})
    except ValidationError:
        expected = "a commit of 40 hex digits" if isinstance(origin, GitHubOrigin) else "the tag of a release"
        raise DataError(f"revision {revision!r}: expected {expected}") from None


def _allow_network(what: str) -> None:
    if origins.offline():
        raise DataError(f"{what} is not on this machine and downloads are off")
