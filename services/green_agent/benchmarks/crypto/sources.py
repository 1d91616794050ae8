"""Which market windows are played: a database, a folder, a manifest or our generator (finance specification 7.2)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.contract.assessment import nearest
from services.contract.secrets import register_secret
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.benchmarks.crypto.manifest import Depot, Place, fetch_scenarios, origin, read_manifest
from services.green_agent.benchmarks.crypto.scenario_files import Scenario, read_scenario, scenarios_in
from services.green_agent.benchmarks.crypto.scenario_generator import generate
from services.green_agent.data.cache import cache_root
from services.green_agent.data.errors import DataError
from services.green_agent.data.hidden_seeds import hidden_seed
from services.green_agent.data.origins import offline
from services.green_agent.data.store import Store

GENERATOR_VERSION: Final = 1
"""Stands in the ids of made scenarios and rises with every change of the generator."""
REPO_FOLDER: Final = "crypto/eval_hidden/manifest.json"
RAW_GITHUB: Final = "https://raw.githubusercontent.com"
_REPO: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The scenarios of an entry and the record of how they came here."""

    scenarios: tuple[Scenario, ...]
    notes: Mapping[str, JsonValue]


def load(config: CryptoConfig, seed: int, store: Store) -> Loaded:
    """All scenarios of an entry, in the order of their source. Raises DatasetError, never returns nothing."""
    found = _found(config, store)
    if found is None:
        if config.on_missing == "error":
            raise DatasetError(_nothing_here(config, store))
        made = _made(config, seed, count=_wanted(config))
        reason = "no market data of one's own: on_missing is generate"
        return Loaded(scenarios=tuple(made), notes={"source": "generator", "reason": reason, "generated": len(made)})
    scenarios = list(found.scenarios)
    missing = _wanted(config) - len(scenarios)
    if config.fill == "generate" and config.scenarios is None and missing > 0:
        made = _made(config, seed, count=missing)
        return Loaded(scenarios=(*scenarios, *made), notes={**found.notes, "generated": len(made)})
    return found


def _found(config: CryptoConfig, store: Store) -> Loaded | None:
    """What the entry's own sources hold; None when it has none or it is not here."""
    if config.pg_enabled:
        # The database driver is an extra and is loaded for nobody else.
        from services.green_agent.benchmarks.crypto.hidden import hidden_scenarios  # noqa: PLC0415

        scenarios = hidden_scenarios(config)
        return _kept(config, {one.id: one for one in scenarios}, {"source": "hidden windows of a database"})
    if config.path is not None and (folder := _folder(config.path, store)) is not None:
        return _from_folder(config, *folder)
    place = _place(config, store) if config.download_on_missing else None
    return None if place is None else _from_manifest(config, place)


def _folder(path: str, store: Store) -> tuple[Path, str] | None:
    try:
        located = store.path(path)
    except DataError:
        return None
    if not located.path.is_dir():
        raise DatasetError(f"crypto: path {path} is a file, expected a folder of scenarios")
    return located.path, located.origin


def _from_folder(config: CryptoConfig, folder: Path, told: str) -> Loaded:
    if config.revision is not None:
        raise DatasetError("crypto: revision names a version of EVAL_DATA_REPO, a folder has none; remove it")
    inside = scenarios_in(folder)
    wanted = _chosen(config, inside.paths)
    notes: dict[str, JsonValue] = {"source": told, "passed_over": list(inside.passed_over)}
    return Loaded(scenarios=tuple(read_scenario(inside.paths[name], name) for name in wanted), notes=notes)


def _from_manifest(config: CryptoConfig, place: Place) -> Loaded:
    root = cache_root() / "crypto-scenarios" if config.cache_dir is None else Path(config.cache_dir).expanduser()
    depot = Depot(folder=root, ttl_hours=config.cache_ttl_hours)
    manifest = read_manifest(place, depot)
    wanted = _chosen(config, {entry.id: entry for entry in manifest.entries})
    scenarios = tuple(fetch_scenarios(manifest, place, depot, wanted))
    return Loaded(scenarios=scenarios, notes={"source": f"manifest {place.told}"})


def _place(config: CryptoConfig, store: Store) -> Place | None:
    """Where the manifest lies: the entry's, else that of `EVAL_DATA_REPO`."""
    repo = os.environ.get("EVAL_DATA_REPO", "").strip()
    address = _repo_address(repo, config.revision) if repo else None
    token = os.environ.get("EVAL_DATA_PAT") or None
    if token is not None:
        register_secret(token)
    reference = config.remote_manifest or address
    if reference is None:
        return None
    place = Place(reference=reference, token=token, token_origin="" if address is None else origin(address))
    if not place.remote:
        try:
            return replace(place, reference=str(store.path(reference).path))
        except DataError as error:
            raise DatasetError(f"crypto: remote_manifest: {error}") from None
    if offline():
        raise DatasetError(
            "crypto: offline, so no manifest is fetched; unset ASSAY_OFFLINE or set on_missing: generate"
        )
    return place


def _repo_address(repo: str, revision: str | None) -> str:
    """`EVAL_DATA_REPO` is `owner/name` on GitHub, or the address of a folder that holds the same files."""
    if _REPO.fullmatch(repo):
        return f"{RAW_GITHUB}/{repo}/{revision or 'main'}/{REPO_FOLDER}"
    if repo.startswith(("http://", "https://")):
        return f"{repo.rstrip('/')}/{REPO_FOLDER}"
    raise DatasetError(f"crypto: EVAL_DATA_REPO is {repo!r}, expected owner/name or an http(s) address")


def _chosen(config: CryptoConfig, known: Mapping[str, object]) -> Sequence[str]:
    if config.scenarios is None:
        return tuple(known)
    for name in config.scenarios:
        if name not in known:
            raise DatasetError(f"crypto: no scenario {name!r}{nearest(name, known)}")
    return tuple(dict.fromkeys(config.scenarios))


def _kept(config: CryptoConfig, scenarios: Mapping[str, Scenario], notes: Mapping[str, JsonValue]) -> Loaded:
    return Loaded(scenarios=tuple(scenarios[name] for name in _chosen(config, scenarios)), notes=notes)


def _wanted(config: CryptoConfig) -> int:
    return max(config.limit or 0, config.generator.count)


def _made(config: CryptoConfig, seed: int, *, count: int) -> list[Scenario]:
    drawn = _generator_seed(config.generator.seed, seed)
    ids = {f"crypto-g{GENERATOR_VERSION}-{number:04d}": number for number in range(count)}
    return [
        Scenario(id=name, symbol="GENERATED", bars=generate(drawn, ids[name], config.generator))
        for name in _chosen(config, ids)
    ]


def _generator_seed(configured: int | str | None, seed: int) -> int:
    """A number, the name of a hidden seed, or the run seed."""
    if isinstance(configured, str):
        try:
            return hidden_seed(configured)
        except DataError as error:
            raise DatasetError(f"crypto: generator.seed: {error}") from None
    return seed if configured is None else configured


def _nothing_here(config: CryptoConfig, store: Store) -> str:
    tried = ["no path and no remote_manifest are given"]
    if config.path is not None:
        try:
            store.path(config.path)
        except DataError as error:
            tried = [f"path {error}"]
    if config.remote_manifest and not config.download_on_missing:
        tried.append("remote_manifest is not fetched unless download_on_missing is true")
    return f"crypto: {'; '.join(tried)}. Set on_missing: generate to play markets of our own generator"
