"""Which images a compose file ran, by their digests, in the form that leaderboards keep (interop specification 6)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from services.runner.environment import read_env_file, resolve
from services.runner.failures import RunnerError, ScenarioError

if TYPE_CHECKING:
    from docker.models.images import Image

_REMEDY: Final = "pull or build it: a digest is taken from the engine that ran it"


class ProvenanceError(RunnerError):
    """The images cannot be recorded. Names each."""


class _Service(BaseModel):
    """What is not read is not looked into either: aliases of YAML can make a small text endless."""

    model_config = ConfigDict(extra="ignore")

    image: str | None = None
    extends: object = None


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    services: dict[str, _Service]
    include: object = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One image, as the engine knows it."""

    name: str
    """As the file names it, variables replaced."""
    digest: str
    """`repository@sha256:...` of a registry, else the local image id."""
    image_id: str


def record(compose: Path) -> dict[str, JsonValue]:
    """The provenance of a compose file, with the time of this moment.

    Raises ScenarioError for a file that cannot be read, ProvenanceError naming every image that is not on this engine.
    """
    found = digests(images_of(compose))
    provenance: dict[str, JsonValue] = {
        "image_digests": {service: image.digest for service, image in found.items()},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if workflow := github_actions(os.environ):
        provenance["github_actions"] = dict(workflow)
    provenance["assay"] = {
        "version": version("assay"),
        "images": {service: {"name": image.name, "id": image.image_id} for service, image in found.items()},
    }
    return provenance


def images_of(compose: Path) -> dict[str, str]:
    """Service to image of a compose file. Raises ScenarioError with every fault.

    Variables come from the environment, then from `.env` beside the file, as compose has it.
    """
    try:
        file = _File.model_validate(yaml.safe_load(compose.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ScenarioError(f"{compose}: cannot be read as a compose file ({error})") from None
    except ValidationError as error:
        raise ScenarioError(f"{compose}: no compose file ({error.error_count()} faults)") from None
    beside = compose.with_name(".env")
    variables = (read_env_file(beside) if beside.is_file() else {}) | dict(os.environ)
    faults = [] if file.include is None else [f"{compose}: include is not followed; {_MERGED}"]
    images: dict[str, str] = {}
    for name, service in file.services.items():
        if service.image is None:
            faults.append(
                f"{compose}: service {name} names no image{'' if service.extends is None else f'; {_MERGED}'}"
            )
            continue
        try:
            images[name] = resolve(service.image, variables)
        except ScenarioError as error:
            faults.append(f"{compose}: image of service {name}: {error}")
    if faults:
        raise ScenarioError(*faults)
    return images


_MERGED: Final = "write the whole file with `docker compose config` and give that one"


def digests(images: Mapping[str, str]) -> dict[str, Recorded]:
    """Service to digest, in the same order. Raises ProvenanceError."""
    import docker  # noqa: PLC0415 - slow
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415

    found: dict[str, Recorded] = {}
    missing: list[str] = []
    try:
        client = docker.from_env()
        try:
            for service, name in images.items():
                try:
                    found[service] = _recorded(name, client.images.get(name))
                except ImageNotFound:
                    missing.append(f"image {name} of service {service} is not here: {_REMEDY}")
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise ProvenanceError(f"no Docker engine to ask for digests ({error})") from None
    if missing:
        raise ProvenanceError("\n".join(missing))
    return found


def _recorded(name: str, image: Image) -> Recorded:
    image_id = str(image.id)
    listed = [str(digest) for digest in image.attrs.get("RepoDigests") or ()]
    own = [digest for digest in listed if digest.partition("@")[0] == repository(name)]
    return Recorded(name=name, digest=next(iter([*own, *listed]), image_id), image_id=image_id)


def repository(name: str) -> str:
    """An image's name without tag and digest, as the engine writes it in digests."""
    path, _, last = name.partition("@")[0].rpartition("/")
    bare = last.partition(":")[0]
    joined = f"{path}/{bare}" if path else bare
    return joined.removeprefix("docker.io/").removeprefix("library/")


def github_actions(environment: Mapping[str, str]) -> dict[str, str]:
    """What a GitHub workflow says of itself, in the platform's fields; empty outside of one."""
    if not environment.get("GITHUB_ACTIONS"):
        return {}
    said = {
        name: environment.get(f"GITHUB_{name.upper()}", "") for name in ("ref", "sha", "workflow_ref", "workflow_sha")
    }
    repository_name, run = environment.get("GITHUB_REPOSITORY", ""), environment.get("GITHUB_RUN_ID", "")
    server, api = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_API_URL", "")
    if repository_name and server:
        said["repository_url"] = f"{server}/{repository_name}"
        said["run_url"] = f"{server}/{repository_name}/actions/runs/{run}" if run else ""
    if repository_name and api and run:
        said["run_logs_url"] = f"{api}/repos/{repository_name}/actions/runs/{run}/logs"
    return {name: text for name, text in sorted(said.items()) if text}
