"""Market windows that a manifest lists: fetched from one place, checked by sha256, unpacked without trust, kept in a cache.

A manifest: `{base_url?, scenarios | data: [{id | scenario_id | name, url | artifact, sha256}]}`; each artifact is a
`market_data.json` or a zip that holds one (finance specification 7.2).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.scenario_files import LARGEST_BYTES, MARKET_FILE, Scenario, read_scenario
from services.green_agent.data.archives import unpack
from services.green_agent.data.cache import file_sha256, safe_member
from services.green_agent.data.errors import DataError

LARGEST_MANIFEST: Final = 8 << 20
TIMEOUT_S: Final = 60.0
_SCHEME: Final = re.compile(r"https?://", re.IGNORECASE)


class Entry(BaseModel):
    """One scenario of a manifest."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(
        validation_alias=AliasChoices("id", "scenario_id", "name"), pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
    )
    url: str = Field(validation_alias=AliasChoices("url", "artifact"), min_length=1)
    """Absolute, or relative to the base."""
    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")
    """Of the artifact as it is transferred."""

    @property
    def told(self) -> str:
        """For messages: without a query, which may hold a signature."""
        return self.url.split("?", 1)[0]


class Manifest(BaseModel):
    """What there is to fetch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base_url: str | None = None
    entries: tuple[Entry, ...] = Field(validation_alias=AliasChoices("scenarios", "data"), min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a manifest lies, and who may be shown the token."""

    reference: str
    """Address, or path of a local manifest."""
    token: str | None = None
    token_origin: str = ""
    """The token is sent to addresses of this origin alone."""

    @property
    def remote(self) -> bool:
        """True for an address."""
        return _SCHEME.match(self.reference) is not None

    @property
    def told(self) -> str:
        """For the record: the origin and last part of an address, or the name of a file; queries may be signed."""
        if self.remote:
            return f"{origin(self.reference)}/.../{urlsplit(self.reference).path.rsplit('/', 1)[-1]}"
        return Path(self.reference).name


@dataclass(frozen=True, kw_only=True, slots=True)
class Depot:
    """Where downloads are kept."""

    folder: Path
    ttl_hours: float
    """How long a manifest is used before it is asked for again."""
    clock: Callable[[], float] = time.time


def origin(url: str) -> str:
    """Scheme, host and port of an address. Raises DatasetError when it has no host."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise DatasetError(f"crypto manifest: {url!r} is no address ({error})") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise DatasetError(f"crypto manifest: {url!r} is no http(s) address")
    return f"{parts.scheme}://{parts.hostname}:{port}"


def read_manifest(place: Place, depot: Depot) -> Manifest:
    """The manifest, from the depot while it is fresh. Raises DatasetError."""
    if not place.remote:
        return _parsed(Path(place.reference).read_bytes())
    kept = depot.folder / "manifests" / hashlib.sha256(place.reference.encode()).hexdigest()
    fresh = kept.is_file() and depot.clock() - kept.stat().st_mtime < 3600 * depot.ttl_hours
    if not fresh:
        with _draft(kept) as draft:
            _fetch(place.reference, draft, place, most_bytes=LARGEST_MANIFEST)
            _parsed(draft.read_bytes())
    return _parsed(kept.read_bytes())


def fetch_scenarios(manifest: Manifest, place: Place, depot: Depot, wanted: Sequence[str]) -> list[Scenario]:
    """The windows of the `wanted` ids, fetched unless they are in the depot. Raises DatasetError that names the id."""
    entries = {entry.id: entry for entry in manifest.entries}
    return [_scenario(entries[scenario_id], manifest, place, depot) for scenario_id in wanted]


def _parsed(text: bytes) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
        raise DatasetError(f"crypto manifest: {told}") from None
    ids = [entry.id for entry in manifest.entries]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise DatasetError(f"crypto manifest: lists {', '.join(twice[:5])} more than once")
    return manifest


def _scenario(entry: Entry, manifest: Manifest, place: Place, depot: Depot) -> Scenario:
    digest = entry.sha256.lower()
    kept = depot.folder / "artifacts" / digest
    try:
        if not kept.is_file() or file_sha256(kept) != digest:
            with _draft(kept) as draft:
                _bring(entry, draft, manifest, place)
                _check_digest(entry, draft)
        return _opened(kept, entry.id)
    except DataError as error:
        raise DatasetError(f"crypto scenario {entry.id}: {error}") from None


def _check_digest(entry: Entry, file: Path) -> None:
    if (got := file_sha256(file)) != entry.sha256.lower():
        raise DataError(f"sha256 of {entry.told} is {got}, the manifest says {entry.sha256.lower()}")


def _bring(entry: Entry, draft: Path, manifest: Manifest, place: Place) -> None:
    """Copy or fetch one artifact. Raises DataError when it lies elsewhere than the manifest's base."""
    base = manifest.base_url or (place.reference if place.remote else None)
    if base is None:
        path = Path(place.reference).parent / safe_member(entry.url)
        if not path.is_file():
            raise DataError(f"{entry.url} does not lie beside the manifest")
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{entry.url} is larger than {LARGEST_BYTES >> 20} MB")
        shutil.copyfile(path, draft)
        return
    folder = base if base.endswith("/") or manifest.base_url is None else base + "/"
    url = urljoin(folder, entry.url)
    if origin(url) != origin(base):
        raise DataError(f"{entry.told} lies on another host than the base {origin(base)}")
    if not _SCHEME.match(entry.url):
        safe_member(entry.url)
    _fetch(url, draft, place, most_bytes=LARGEST_BYTES)


def _fetch(url: str, path: Path, place: Place, *, most_bytes: int) -> None:
    """Write what an address answers into a file. Redirects are not followed: they could lead to another host."""
    import httpx  # noqa: PLC0415

    shown = _without_secrets(url)
    headers = {}
    if place.token and origin(url) == place.token_origin:
        headers["Authorization"] = f"Bearer {place.token}"
    try:
        with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT_S) as answer, path.open("wb") as opened:
            if answer.status_code != 200:
                raise DatasetError(f"crypto: {shown} answered {answer.status_code}{_remedy(answer.status_code)}")
            for chunk in answer.iter_bytes():
                opened.write(chunk)
                if opened.tell() > most_bytes:
                    raise DatasetError(f"crypto: {shown} is larger than {most_bytes >> 20} MB")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DatasetError(f"crypto: {shown} cannot be reached ({type(error).__name__})") from None


def _without_secrets(url: str) -> str:
    """An address for messages: user, password and query, which may hold a signature, are left out."""
    return origin(url) + urlsplit(url).path


def _remedy(status: int) -> str:
    return "; a private EVAL_DATA_REPO needs a token in EVAL_DATA_PAT" if status in {401, 403, 404} else ""


def _opened(artifact: Path, scenario_id: str) -> Scenario:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not zipfile.is_zipfile(artifact):
            shutil.copyfile(artifact, folder / MARKET_FILE)
            return read_scenario(folder, scenario_id)
        found = [path for path in unpack(artifact, folder, most_bytes=LARGEST_BYTES) if path.name == MARKET_FILE]
        if len(found) != 1:
            raise DataError(f"its archive holds {len(found)} files {MARKET_FILE}, expected one")
        return read_scenario(found[0].parent, scenario_id)


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A file that becomes `target` when all went well, whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            draft = Path(folder) / "draft"
            yield draft
            draft.replace(target)
    except OSError as error:
        raise DatasetError(f"crypto: the cache cannot be written ({error.strerror}); set cache_dir") from None
