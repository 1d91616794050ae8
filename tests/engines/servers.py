"""Starts the real engines of the tests on the tiny checkpoint, and leaves nothing of them behind."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from services.contract import guard

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 30.0
MODEL = "tiny"
HUB_ID, REVISION = "assay/tiny", "0" * 40
MAX_MODEL_LEN = 2048
KV_TOKENS = 131_072
"""64 MiB at 512 bytes a token: 2 layers, 2 KV heads of 32, keys and values in bfloat16."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TORCHDYNAMO_DISABLE": "1",  # else the first request for logprobs compiles for 15 seconds
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
VLLM_OPTIONS: dict[str, str | None] = {
    "--dtype": "bfloat16",
    "--max-model-len": str(MAX_MODEL_LEN),
    "--max-num-seqs": "8",
    "--enforce-eager": None,
    "--kv-cache-memory-bytes": "64M",
    "--structured-outputs-config": '{"backend":"xgrammar","disable_any_whitespace":true}',
    "--enable-auto-tool-choice": None,
    "--tool-call-parser": "hermes",
    "--reasoning-parser": "qwen3",
}
NO_THINKING = '{"enable_thinking":false}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A model that is served."""

    root: str
    """Address without /v1."""
    model: str
    log: Path | None = None
    """What the server printed; None when it is not ours."""

    @property
    def url(self) -> str:
        """Base URL of the API, ending in /v1."""
        return f"{self.root}/v1"


@contextmanager
def vllm(home: Path, checkpoint: Path, log: Path, *, parser: str = "hermes", thinks: bool = False) -> Iterator[Served]:
    """vLLM on CPU. `thinks`: without the template default that turns thinking off."""
    options = VLLM_OPTIONS | {"--tool-call-parser": parser}
    options |= {} if thinks else {"--default-chat-template-kwargs": NO_THINKING}
    command = [str(home / "bin/vllm"), "serve", str(checkpoint), "--served-model-name", MODEL, *flat(options)]
    with _serving(command, log, {}) as root:
        yield Served(root=root, model=MODEL, log=log)


@contextmanager
def transformers_serve(home: Path, checkpoint: Path, log: Path) -> Iterator[Served]:
    """The light engine. It lists models of the hub's cache only, so that is where the checkpoint goes."""
    cached = log.parent / "hub" / f"models--{HUB_ID.replace('/', '--')}"
    shutil.copytree(checkpoint, cached / "snapshots" / REVISION)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(REVISION)
    command = [
        str(home / "bin/transformers"),
        "serve",
        HUB_ID,
        "--device",
        "cpu",
        "--chat-template-kwargs",
        NO_THINKING,
    ]
    with _serving(command, log, {"HF_HOME": str(log.parent)}) as root:
        yield Served(root=root, model=HUB_ID, log=log)


def flat(options: dict[str, str | None]) -> Sequence[str]:
    """Options as a command line; those without a value are switches."""
    return [word for name, value in options.items() for word in ((name,) if value is None else (name, value))]


def free_port() -> int:
    """A port that nothing listens on, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@contextmanager
def _serving(command: Sequence[str], log: Path, env: dict[str, str]) -> Iterator[str]:
    port = free_port()
    guarded = [
        sys.executable,
        guard.__file__,
        str(STOP_TIMEOUT_S),
        *command,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            guarded, stdin=subprocess.PIPE, stdout=output, stderr=output, env={**os.environ, **ENVIRONMENT, **env}
        )
    root = f"http://127.0.0.1:{port}"
    try:
        _await_health(process, root, log)
        yield root
    finally:
        process.terminate()  # the guard then ends the whole process group
        process.communicate(timeout=STOP_TIMEOUT_S + 10)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still served"


def _await_health(process: subprocess.Popen[bytes], root: str, log: Path) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up and not _healthy(root):
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"{process.args!r} ended with {process.returncode}:\n{tail(log)}")
    assert _healthy(root), f"{process.args!r} is not healthy after {START_TIMEOUT_S} s:\n{tail(log)}"


def _healthy(root: str) -> bool:
    try:
        return httpx.get(f"{root}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def tail(log: Path) -> str:
    """The end of what a server printed."""
    return log.read_text(errors="replace")[-4000:]
