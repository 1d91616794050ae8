"""What is known about each data set before it is read: `registry.yaml` and `known_issues.yaml`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
MOVING: Final = "main"
"""A branch, not a revision: it is resolved to a commit at the first pull and held there."""


class HubOrigin(BaseModel):
    """A data set repository of the Hugging Face hub."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["hub"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = MOVING
    """A commit pins it. Where none is known here, `main` is resolved at the first pull and written down."""

    @property
    def words(self) -> str:
        """For records."""
        return f"hub {self.repo}"

    @property
    def page(self) -> str:
        """Where people read about it and accept its terms."""
        return f"https://huggingface.co/datasets/{self.repo}"


class GitHubOrigin(BaseModel):
    """Files of a GitHub repository at one commit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["github"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern="^[0-9a-f]{40}$")
    folder: str
    """Where the members lie in the repository."""
    base: str = "https://raw.githubusercontent.com"

    @property
    def words(self) -> str:
        """For records."""
        return f"github {self.repo}"

    @property
    def page(self) -> str:
        """Where people read about it."""
        return f"https://github.com/{self.repo}"


class ReleaseOrigin(BaseModel):
    """Files attached to a release of a GitHub repository."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["release"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", max_length=100)
    """Tag of the release. Its owner can replace the files: the digests say whether they are still the same."""
    base: str = "https://github.com"

    @property
    def words(self) -> str:
        """For records."""
        return f"release {self.repo}"

    @property
    def page(self) -> str:
        """Where people read about it."""
        return f"https://github.com/{self.repo}/releases/tag/{self.revision}"


class PackageOrigin(BaseModel):
    """A file inside an installed Python package."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["package"]
    package: str
    """Import name; it is found without being imported."""
    member: str
    """Path inside the package."""
    revision: str
    """Version of the package that was published with these digests."""

    @property
    def words(self) -> str:
        """For records."""
        return f"package {self.package}"


Origin = Annotated[HubOrigin | GitHubOrigin | ReleaseOrigin | PackageOrigin, Field(discriminator="kind")]


class Source(BaseModel):
    """One data set of the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    title: str
    source: str
    """Where it was published, with its version."""
    licence: str
    rows: int | None = Field(default=None, gt=0)
    """None where the count depends on the revision."""
    id_field: str = ""
    file_sha256: Sha256 | None = None
    content_sha256: Sha256 | None = None
    remedy: str
    """What to do when it is absent or broken."""
    origin: Origin | None = None
    """Where it can be fetched. None: only from a mirror or a path."""
    members: tuple[str, ...] = ()
    """Globs of the files that a pull brings; others are fetched when they are asked for."""
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """Digest of each member, where known."""
    mirror: str = ""
    """Folder of its members in a mirror; its name when empty."""
    guide_path: str = ""
    """What suites written for AgentBusters call its folder."""

    def folder_in_mirror(self, name: str) -> str:
        """Where a mirror keeps its members; `name` is its name in the registry."""
        return self.mirror or name

    def takes(self, member: str) -> bool:
        """True when a pull brings this file."""
        return any(fnmatchcase(member, pattern) for pattern in self.members)


class KnownIssue(BaseModel):
    """A fault of some rows and what is done about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: str
    """Short stable identifier."""
    rows: tuple[str, ...] = Field(min_length=1)
    action: Literal["kept", "mended", "guarded", "left_out"]
    """`kept`: scored as it is. `mended`: loader or scorer take care of it. `guarded`: the calls are
    made beside the program. `left_out`: not asked."""
    reason: str


def source(name: str) -> Source:
    """The registry's entry. Raises KeyError for an unknown name."""
    return sources()[name]


def known_issues(name: str) -> tuple[KnownIssue, ...]:
    """Known faults of a data set; empty when none is known."""
    return _issues().get(name, ())


@cache
def sources() -> dict[str, Source]:
    """The whole registry by name."""
    return TypeAdapter(dict[str, Source]).validate_python(_read("registry.yaml"))


@cache
def _issues() -> dict[str, tuple[KnownIssue, ...]]:
    return TypeAdapter(dict[str, tuple[KnownIssue, ...]]).validate_python(_read("known_issues.yaml"))


def _read(name: str) -> object:
    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
