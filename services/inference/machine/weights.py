"""The one step that fetches a checkpoint before a launch, so that N servers never download it N times.

Weights lie where engines look for them, in the cache of the Hugging Face hub. Its own client does the fetching, since it knows
resuming, tokens and mirrors.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.inference.failures import InferenceError, UsageError

_INDEX: Final = "model.safetensors.index.json"
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """A checkpoint on this machine."""

    folder: Path
    revision: str
    """Commit on the hub."""

    def called(self, name: str) -> Path:
        """A link to the folder with this name, beside the snapshots, for an engine that names its model after the folder."""
        link = self.folder.parents[1] / "assay" / self.revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(self.folder)
        return link


def fetched(
    model: str, revision: str | None, *, beside: str | None, env: Mapping[str, str], says: Callable[[str], None]
) -> Weights | None:
    """The whole checkpoint of a hub id, downloaded if it must be; None for a local directory.

    `beside` is the engine's executable, next to which the hub's client lies. Raises UsageError when there is no client,
    InferenceError with its words when it fails.
    """
    if Path(model).expanduser().is_dir() or not _HUB_ID.fullmatch(model):
        return None
    cache = _cache(env)
    if (found := _cached(cache, model, revision)) is not None:
        return found
    says(f"fetching {model} into {cache}")
    command = [_client(model, beside, env), "download", model, *(("--revision", revision) if revision else ())]
    ran = subprocess.run(command, env=dict(env), stdout=subprocess.DEVNULL, stderr=None, check=False)
    if (found := _cached(cache, model, revision)) is None:
        raise InferenceError(
            f"{' '.join(command)} ended with exit code {ran.returncode} and left no whole checkpoint in {cache}; a gated model "
            "needs its licence accepted and a token (`hf auth login`)"
        )
    return found


def _cache(env: Mapping[str, str]) -> Path:
    if named := env.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    home = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(home).expanduser() / "hub"


def _cached(cache: Path, model: str, revision: str | None) -> Weights | None:
    """The checkpoint if every file of it is there."""
    place = cache / f"models--{model.replace('/', '--')}"
    commit = revision or "main"
    reference = place / "refs" / commit
    if reference.is_file():
        commit = reference.read_text(encoding="ascii").strip()
    folder = place / "snapshots" / commit
    return Weights(folder=folder, revision=commit) if _whole(folder) else None


def _whole(folder: Path) -> bool:
    """Links of files that are still being fetched lead nowhere."""
    if not (folder / "config.json").exists():
        return False
    try:
        named = set(json.loads((folder / _INDEX).read_bytes())["weight_map"].values())
    except FileNotFoundError:
        return any(file.exists() for file in folder.glob("*.safetensors"))
    except (ValueError, KeyError, AttributeError):
        return False
    return all((folder / name).exists() for name in named)


def _client(model: str, beside: str | None, env: Mapping[str, str]) -> str:
    engine = shutil.which(beside, path=env.get("PATH")) if beside else None
    folders = [str(Path(engine).parent)] if engine else []
    path = os.pathsep.join([*folders, env.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    client = shutil.which("hf", path=path)
    if client is None:
        raise UsageError(
            f"the weights of {model} are not in {_cache(env)}, and the hub's client `hf` was not found to fetch them: install "
            "huggingface-hub beside the engine, or pass a local directory"
        )
    return client
