"""Fetches published data sets: which commit a name stands for, what it holds, and its files. Keeps nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from services.green_agent.data.cache import COMMIT, Listing, safe_member
from services.green_agent.data.errors import DataError
from services.green_agent.data.registry import GitHubOrigin, HubOrigin, PackageOrigin, ReleaseOrigin

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_S: Final = 60.0
LARGEST_RAW_BYTES: Final = 200 << 20
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


def offline() -> bool:
    """True when `ASSAY_OFFLINE` or `HF_HUB_OFFLINE` forbids any download."""
    return any(os.environ.get(name, "").strip().lower() in _TRUE for name in ("ASSAY_OFFLINE", "HF_HUB_OFFLINE"))


def hub_listing(origin: HubOrigin, revision: str) -> tuple[str, Listing]:
    """The commit that a revision of a hub data set stands for, and its files. Raises DataError.

    Commit and names become paths of the cache, so that whatever the hub answers they must look like what they are.
    """
    with _hub_errors(origin, revision):
        info = _api().dataset_info(origin.repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
        files = {safe_member(one.rfilename): one.lfs.sha256 if one.lfs else None for one in info.siblings or ()}
        if not info.sha or not files:
            raise DataError(f"{origin.page} at {revision} lists no files")
        if not COMMIT.fullmatch(info.sha) or (COMMIT.fullmatch(revision) and info.sha != revision):
            raise DataError(f"{origin.page} answered for {revision} with another revision, {info.sha[:60]!r}")
    return info.sha, files


def hub_file(origin: HubOrigin, member: str, *, commit: str, folder: Path) -> Path:
    """Fetch one file of a hub data set into a folder. Raises DataError."""
    with _hub_errors(origin, commit, member):
        return Path(
            _api().hf_hub_download(origin.repo, member, repo_type="dataset", revision=commit, local_dir=str(folder))
        )


def github_file(origin: GitHubOrigin, member: str, *, folder: Path) -> Path:
    """Fetch one file of a GitHub repository into a folder. Raises DataError."""
    return _raw(f"{origin.base}/{origin.repo}/{origin.revision}/{origin.folder}/{member}", folder)


def release_file(origin: ReleaseOrigin, member: str, *, folder: Path) -> Path:
    """Fetch one file of a GitHub release into a folder. Raises DataError."""
    return _raw(f"{origin.base}/{origin.repo}/releases/download/{origin.revision}/{member}", folder)


def _raw(url: str, folder: Path) -> Path:
    """Fetch an address; files of releases lie somewhere else than their address says."""
    import httpx  # noqa: PLC0415

    path = folder / "raw"
    try:
        with (
            httpx.stream("GET", url, timeout=TIMEOUT_S, follow_redirects=True) as answer,
            path.open("wb") as opened,
        ):
            if answer.status_code != 200:
                raise DataError(f"{url} answered {answer.status_code}")
            for chunk in answer.iter_bytes():
                opened.write(chunk)
                if opened.tell() > LARGEST_RAW_BYTES:
                    raise DataError(f"{url} is larger than {LARGEST_RAW_BYTES >> 20} MB")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DataError(f"{url} cannot be reached ({_in_short(error)})") from None
    return path


def package_file(origin: PackageOrigin) -> Path:
    """The file inside an installed package, found without importing it. Raises DataError."""
    found = find_spec(origin.package)
    if found is None or not found.submodule_search_locations:
        raise DataError(f"the package {origin.package} is absent")
    path = Path(found.submodule_search_locations[0]) / origin.member
    if not path.is_file():
        raise DataError(f"the package {origin.package} {_version(origin.package)} has no file {origin.member}")
    return path


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "of unknown version"


def _api() -> HfApi:
    from huggingface_hub import HfApi  # noqa: PLC0415

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="assay")


@contextmanager
def _hub_errors(origin: HubOrigin, revision: str, member: str = "") -> Iterator[None]:
    """Say in our words what the hub refused."""
    from huggingface_hub import errors  # noqa: PLC0415

    # The hub's client changes its HTTP library between versions; its own error is always a kind of that library's.
    transport_error = cast("type[Exception]", errors.HfHubHTTPError.__bases__[0])
    try:
        yield
    except errors.GatedRepoError:
        raise DataError(
            f"{origin.repo} is gated: accept its terms at {origin.page} and put a token of that account into HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise DataError(
            f"{origin.page} does not exist or is not open to you; for a private one put a token into HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise DataError(f"{origin.page} has no revision {revision!r}") from None
    except errors.RemoteEntryNotFoundError:
        raise DataError(f"{origin.page} at {revision} has no file {member!r}") from None
    # ValueError: a token or a name that the hub's client does not put into a request.
    except (transport_error, errors.OfflineModeIsEnabled, OSError, ValueError) as error:
        raise DataError(f"{origin.page} cannot be reached ({_in_short(error)})") from None
    except (KeyError, TypeError, AttributeError) as error:  # what the hub's client does with answers of another shape
        raise DataError(f"{origin.page} at {revision} gave no proper answer ({_in_short(error)})") from None


def _in_short(error: Exception) -> str:
    # What the system says of a file names its path on this machine.
    told = error.strerror if isinstance(error, OSError) and error.filename is not None else str(error)
    lines = (told or "").strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
