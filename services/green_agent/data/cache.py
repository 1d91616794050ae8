"""Copies of published data sets on this machine: `<cache>/data/<name>/<revision>/<member>`.

A file appears whole or not at all and beside it its digest, so that concurrent pulls need no lock and damage is found.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import TypeAdapter, ValidationError

from services.green_agent.data.errors import DataError

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
OWN_FOLDER: Final = ".assay"
"""Inside the folder of a revision: digests and the listing, no members."""
LONGEST_NAME: Final = 255
"""Bytes of one part of a path; more is an error of the system wherever the path is touched."""
Listing = dict[str, str | None]
"""sha256 by member of what a revision holds; None where the source publishes none."""


def cache_root() -> Path:
    """`$ASSAY_CACHE/data`, else `assay/data` in the user's cache folder of this platform."""
    configured = os.environ.get("ASSAY_CACHE")
    return (Path(configured) if configured else _user_cache() / "assay") / "data"


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def safe_member(member: str) -> str:
    """The name as it is.

    Raises DataError when it could leave the folder it is put in, is longer than file systems take, or is the cache's own.
    """
    parts = PurePosixPath(member).parts
    climbs = not parts or member.startswith("/") or ".." in parts or "\\" in member or "\0" in member or ":" in parts[0]
    too_long = any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME for part in parts)
    if climbs or too_long or parts[0] == OWN_FOLDER:
        raise DataError(f"{member[:200]!r} is no name of a file inside a data set")
    return member


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """The copies of one data set."""

    name: str
    root: Path = field(default_factory=cache_root)

    @property
    def folder(self) -> Path:
        """Everything of this data set."""
        return self.root / self.name

    def held(self, requested: str) -> str | None:
        """The commit that `requested` was resolved to at the first pull, or None before it."""
        if COMMIT.fullmatch(requested):
            return requested
        try:
            return str(json.loads(self._lock(requested).read_text(encoding="utf-8"))["commit"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.name}: what {requested!r} was resolved to cannot be read in the cache ({type(error).__name__}); "
                f"`assay data pull {self.name} --update` resolves it again"
            ) from None

    def hold(self, requested: str, commit: str) -> str:
        """Write down what `requested` is; whoever comes first is right, and its commit is returned."""
        if COMMIT.fullmatch(requested):
            return requested
        text = json.dumps({"requested": requested, "commit": commit})
        with self._draft() as draft:
            draft.write_text(text, encoding="utf-8")
            lock = self._lock(requested)
            lock.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(draft, lock)
            except FileExistsError:
                pass
            except (
                OSError
            ):  # a file system without links: two first pulls at once could then disagree, one after all wins
                _move(draft, lock)
        return self.held(requested) or commit

    def release(self, requested: str) -> None:
        """Forget what `requested` was resolved to; files stay."""
        self._lock(requested).unlink(missing_ok=True)

    def file(self, commit: str, member: str) -> Path | None:
        """The copy of a file, checked against its digest; None when there is none. Raises DataError when damaged."""
        path = self.folder / commit / safe_member(member)
        if not path.is_file():
            return None
        # The digest is written before the file: a copy without one is not what was put here.
        if self.digest(commit, member) != file_sha256(path):
            raise DataError(
                f"{self.name}: {member} in the cache is damaged; `assay data pull {self.name}` fetches it again"
            )
        return path

    def digest(self, commit: str, member: str) -> str | None:
        """sha256 of a file when it was put here; None when nobody can tell."""
        try:
            return self._digest_file(commit, member).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None

    def members(self, commit: str) -> list[str]:
        """Names of all files that are here, sorted."""
        folder = self.folder / commit
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if path.parts[0] != OWN_FOLDER)

    def put(self, commit: str, member: str, file: Path, *, expected: str | None) -> Path:
        """Take in a file by copying it. Raises DataError unless it has the expected sha256."""
        digest = file_sha256(file)
        if expected is not None and digest != expected:
            raise DataError(f"{self.name}: sha256 of {member} is {digest}, expected {expected}")
        path = self.folder / commit / safe_member(member)
        with self._draft() as draft:
            draft.write_text(digest, encoding="ascii")
            _move(draft, self._digest_file(commit, member))
        with self._draft() as draft:
            shutil.copyfile(file, draft)
            _move(draft, path)
        return path

    def listing(self, commit: str) -> Listing | None:
        """What the revision holds at its source, None when nobody asked yet."""
        try:
            text = self._listing(commit).read_bytes()
            return TypeAdapter(Listing).validate_json(text)
        except (OSError, ValidationError):
            return None

    def keep_listing(self, commit: str, listing: Mapping[str, str | None]) -> None:
        """Remember what the revision holds at its source."""
        with self._draft() as draft:
            draft.write_text(json.dumps(dict(listing)), encoding="utf-8")
            _move(draft, self._listing(commit))

    @contextmanager
    def draft_folder(self) -> Iterator[Path]:
        """A folder for downloads on the same file system, gone afterwards."""
        drafts = self.folder / OWN_FOLDER
        try:
            drafts.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=drafts) as folder:
                yield Path(folder)
        except OSError as error:
            raise DataError(f"{self.name}: the cache cannot be written ({error.strerror}); set ASSAY_CACHE") from None

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        with self.draft_folder() as folder:
            yield folder / "draft"

    def _lock(self, requested: str) -> Path:
        return self.folder / OWN_FOLDER / f"lock-{hashlib.sha256(requested.encode()).hexdigest()[:16]}.json"

    def _digest_file(self, commit: str, member: str) -> Path:
        return self.folder / commit / OWN_FOLDER / "sha256" / safe_member(member)

    def _listing(self, commit: str) -> Path:
        return self.folder / commit / OWN_FOLDER / "listing.json"


def _move(draft: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(path)
