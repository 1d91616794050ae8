"""Brings data sets here and proves that they are whole: what `assay data list|pull|verify` do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.green_agent.data import origins
from services.green_agent.data.cache import COMMIT, file_sha256
from services.green_agent.data.dataset import LOCAL, Dataset, Instead, dataset, members_of
from services.green_agent.data.errors import DataError
from services.green_agent.data.registry import MOVING, HubOrigin, PackageOrigin, Source, sources


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One line of `assay data list`."""

    name: str
    title: str
    licence: str
    rows: int | None
    """None: depends on the revision."""
    source: str
    where: str
    """`mirror`, `package`, `cache <revision>`, `broken` or `absent`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """What a pull brought."""

    revision: str
    files: int
    bytes: int
    fetched: int
    """Files that were not here before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What a check of the files that are here found."""

    where: str
    files: int
    unknown: int
    """Files without a known digest: they are whole as far as anybody can tell."""
    faults: tuple[str, ...] = ()


def listing(mirror: Path | None) -> list[Listed]:
    """Every data set of the registry and where it is."""
    return [
        Listed(
            name=name,
            title=entry.title,
            licence=entry.licence,
            rows=entry.rows,
            source=entry.source,
            where=_where(dataset(name), mirror),
        )
        for name, entry in sources().items()
    ]


def pull(name: str, *, folder: Path | None, revision: str | None, update: bool) -> Pulled:
    """Bring a data set into the cache, from `folder` (a mirror, or the data set's own files) or from its source.

    `update` forgets what a branch was resolved to before. Raises DataError.
    """
    wanted = dataset(name, Instead(revision=revision))
    if isinstance(wanted.entry.origin, PackageOrigin):
        return _packaged(wanted)
    if update:
        wanted.cache.release(wanted.revision)
    if folder is not None:
        return _pull_folder(wanted, folder)
    names = [member for member in sorted(wanted.listing()) if wanted.entry.takes(member)]
    if not names:
        raise DataError(f"{wanted.entry.title}: its source holds none of {', '.join(wanted.entry.members)}")
    fetched = 0
    for member in names:
        if not _whole(wanted, member):
            wanted.fetch(member)
            fetched += 1
    return _pulled(wanted, wanted.commit(), names, fetched)


def check(name: str, mirror: Path | None) -> list[Checked]:
    """Check the digests of every copy that is here; empty when there is none."""
    wanted = dataset(name)
    if isinstance(wanted.entry.origin, PackageOrigin):
        return _check_package(wanted)
    found: list[Checked] = []
    if names := _mirrored(wanted, mirror):
        found.append(_check_mirror(wanted, mirror or Path(), names))
    for commit in _commits(wanted):
        found += _check_cache(wanted, commit)
    return found


def place(name: str, mirror: Path | None) -> Path:
    """The folder with the files of a data set, or the one file that a package brings. Raises DataError when it is absent."""
    wanted = dataset(name)
    folder = wanted.mirrored(mirror)
    if folder is not None and _mirrored(wanted, mirror):
        return folder
    if isinstance(wanted.entry.origin, PackageOrigin):
        return wanted.file(wanted.entry.members[0], mirror).path
    commit = wanted.cache.held(wanted.revision)
    if commit is None or not wanted.cache.members(commit):
        raise DataError(f"{wanted.entry.title}: not on this machine; {wanted.entry.remedy}")
    return wanted.cache.folder / commit


def _mirrored(wanted: Dataset, mirror: Path | None) -> list[str]:
    """Its files in a mirror; of a folder that several data sets share, its own."""
    names = members_of(wanted.mirrored(mirror))
    folder = wanted.entry.folder_in_mirror(wanted.name)
    shared = sum(entry.folder_in_mirror(name) == folder for name, entry in sources().items()) > 1
    return [name for name in names if wanted.entry.takes(name)] if shared else names


def _where(wanted: Dataset, mirror: Path | None) -> str:
    if _mirrored(wanted, mirror):
        return "mirror"
    if isinstance(wanted.entry.origin, PackageOrigin):
        try:
            origins.package_file(wanted.entry.origin)
        except DataError:
            return "absent"
        return "package"
    try:
        commit = wanted.cache.held(wanted.revision)
    except DataError:
        return "broken"
    return f"cache {commit[:18]}" if commit is not None and wanted.cache.members(commit) else "absent"


def _packaged(wanted: Dataset) -> Pulled:
    located = [wanted.file(member, None) for member in wanted.entry.members]
    size = sum(one.path.stat().st_size for one in located)
    return Pulled(revision=located[0].origin, files=len(located), bytes=size, fetched=0)


def _pull_folder(wanted: Dataset, folder: Path) -> Pulled:
    """Copy the files of a folder into the cache, under the pinned revision or one made of their digests."""
    entry = wanted.entry
    inside = folder / entry.folder_in_mirror(wanted.name)
    inside = inside if inside.is_dir() else folder
    names = [name for name in members_of(inside) if entry.takes(name)]
    missing = sorted(set(entry.sha256) - set(names))
    if not names or missing:
        lacks = ", ".join(missing or entry.members)
        raise DataError(
            f"{entry.title}: {folder} holds no {lacks}, neither below {entry.folder_in_mirror(wanted.name)}/"
        )
    for name in names:
        wanted.check(name, inside / name)
    commit = _revision_of_copies(wanted, inside, names)
    if (held := wanted.cache.held(wanted.revision)) not in {None, commit}:
        raise DataError(
            f"{entry.title}: {wanted.revision} is held at {held} here and these files are {commit}; "
            "--update replaces it, and results before and after are not comparable"
        )
    before = set(wanted.cache.members(commit))
    for name in names:
        wanted.cache.put(commit, name, inside / name, expected=entry.sha256.get(name))
    wanted.cache.hold(wanted.revision, commit)
    return _pulled(wanted, commit, names, len(set(names) - before))


def _revision_of_copies(wanted: Dataset, folder: Path, names: list[str]) -> str:
    if COMMIT.fullmatch(wanted.revision):
        return wanted.revision
    digests = "\n".join(f"{name} {file_sha256(folder / name)}" for name in names)
    return LOCAL + hashlib.sha256(digests.encode()).hexdigest()[:16]


def _pulled(wanted: Dataset, commit: str, names: list[str], fetched: int) -> Pulled:
    size = sum((wanted.cache.folder / commit / name).stat().st_size for name in names)
    return Pulled(revision=commit, files=len(names), bytes=size, fetched=fetched)


def _whole(wanted: Dataset, member: str) -> bool:
    """True when the cache has the file undamaged."""
    try:
        return wanted.here(member, None) is not None
    except DataError:
        return False


def _check_package(wanted: Dataset) -> list[Checked]:
    members = wanted.entry.members
    try:
        located = [wanted.here(member, None) for member in members]
    except DataError as error:
        if _where(wanted, None) == "absent":
            return []
        return [Checked(where="package", files=len(members), unknown=0, faults=(str(error),))]
    return [Checked(where="package", files=len(located), unknown=0)]


def _check_mirror(wanted: Dataset, mirror: Path, names: list[str]) -> Checked:
    faults: list[str] = []
    for name in names:
        try:
            wanted.here(name, mirror)
        except DataError as error:
            faults.append(str(error))
    missing = sorted(set(wanted.entry.sha256) - set(names))
    faults += [f"{wanted.entry.title}: {name} is missing in the mirror" for name in missing]
    unknown = sum(1 for name in names if name not in wanted.entry.sha256)
    return Checked(where="mirror", files=len(names), unknown=unknown, faults=tuple(faults))


def _commits(wanted: Dataset) -> Iterator[str]:
    """Every revision of which the cache holds anything."""
    folder = wanted.cache.folder
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if COMMIT.fullmatch(path.name) or path.name.startswith(LOCAL) or path.name == wanted.revision:
            yield path.name


def _check_cache(wanted: Dataset, commit: str) -> list[Checked]:
    cache = wanted.cache
    names = cache.members(commit)
    if not names:
        return []
    published = cache.listing(commit) or {}
    faults: list[str] = []
    for name in names:
        expected = _expected(wanted.entry, commit, name) or published.get(name)
        got = file_sha256(cache.folder / commit / name)
        if got != (noted := cache.digest(commit, name)) or (expected and got != expected):
            faults.append(f"{wanted.entry.title}: sha256 of {name} is {got}, expected {expected or noted}")
    return [Checked(where=f"cache {commit[:18]}", files=len(names), unknown=0, faults=tuple(faults))]


def _expected(entry: Source, commit: str, name: str) -> str | None:
    pinned = MOVING if entry.origin is None else entry.origin.revision
    held = commit == pinned or (isinstance(entry.origin, HubOrigin) and pinned == MOVING)
    return entry.sha256.get(name) if held else None
