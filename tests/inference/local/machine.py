"""A machine for `inference up`: a folder with a PATH of its own, on which an engine and a driver are real executables."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from services.inference.cli import main
from services.inference.machine.ports import is_free, start_ticks

INFERENCE = Path(sys.executable).with_name("inference")
WAIT_S = 60.0

VLLM = """
import http.server, json, os, subprocess, sys, time
words = sys.argv[1:]
def option(name, default=None):
    return words[words.index(name) + 1] if name in words else default
port, name = int(option("--port")), option("--served-model-name")
{behaviour}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_GET(self):
        self.answer({{"data": [{{"id": name, "max_model_len": 2048}}]}} if "models" in self.path else {{}})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({{"choices": [{{"message": {{"content": "p"}}}}], "usage": {{"completion_tokens": 1}}}})
http.server.ThreadingHTTPServer((option("--host"), port), Handler).serve_forever()
"""
"""A program that takes vLLM's options and answers like a server that is ready."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where one test runs its commands."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def registry(self) -> Path:
        return self.folder / "services.txt"

    def program(self, name: str, code: str) -> None:
        """Put an executable on the PATH; code that begins with `#!` is taken as it is."""
        file = self.bin / name
        file.write_text(code if code.startswith("#!") else f"#!{sys.executable}\n{code}")
        file.chmod(0o755)

    def engine(self, behaviour: str = "") -> None:
        """A `vllm` that does this before it listens."""
        self.program("vllm", VLLM.format(behaviour=textwrap.dedent(behaviour)))

    def gpus(self, *used_mib: int, total_mib: int = 81_559, users: str = "") -> list[str]:
        """An `nvidia-smi` that shows H100s with so much memory in use; returns their UUIDs, which no other test has."""
        uuids = [f"GPU-{os.urandom(4).hex()}-{self.folder.name[:4]}-{index}" for index in range(len(used_mib))]
        rows = "\n".join(
            f"{index}, {uuid}, NVIDIA H100 80GB HBM3, {total_mib}, 551, {used}, 9.0"
            for index, (uuid, used) in enumerate(zip(uuids, used_mib, strict=True))
        )
        users = users.format(*uuids)
        code = f'#!/bin/sh\ncase "$1" in --query-gpu=*) printf "%s\\n" "{rows}";; *) printf "%s" "{users}";; esac\n'
        self.program("nvidia-smi", code)
        return uuids

    def checkpoint(self, name: str = "tiny") -> Path:
        """A directory that is planned like any checkpoint; 0.7 MB of weights that nobody reads."""
        folder = self.folder / name
        folder.mkdir()
        config = {
            "model_type": "qwen3", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 32, "hidden_size": 128, "vocab_size": 512, "intermediate_size": 256,
            "max_position_embeddings": 2048, "dtype": "bfloat16",
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(b"\0" * 722_432)
        return folder

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """`inference WORDS` to its end."""
        return subprocess.run(
            [INFERENCE, *words], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False, timeout=WAIT_S
        )  # fmt: skip

    def say(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """`inference WORDS` to its end in this process, which spares its imports.

        Not for servers that go on, and not where leases decide: the folder for temporary files is looked up once a process.
        """
        with chdir(self.folder):
            ran = CliRunner().invoke(
                main,
                [str(word) for word in words],
                env={**dict.fromkeys(os.environ), **self.env},
                catch_exceptions=False,
            )
        return subprocess.CompletedProcess(words, ran.exit_code, ran.stdout, ran.stderr)

    @contextmanager
    def started(self, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
        """`inference WORDS` in the background; killed at the end if it is still there, and with it what it guards."""
        others = self.servers()
        process = subprocess.Popen(
            [INFERENCE, *words],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests that run in the background of a shell inherit that it is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - takes no lock
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in filter(None, (process.stdout, process.stderr)):
                stream.close()
            await_true(lambda: self.servers() == others, what="no server is left")

    def servers(self) -> list[int]:
        """Processes of the registry that live."""
        lines = self.registry.read_text().splitlines() if self.registry.exists() else []
        ids = [line.split("|")[0].split("-") for line in lines]
        return [int(pid) for _, pid, ticks in ids if start_ticks(int(pid)) == int(ticks)]

    def states(self) -> list[str]:
        """The registry's word for each server."""
        return [line.split("|")[6] for line in self.registry.read_text().splitlines()] if self.registry.exists() else []

    def log(self, ending: str) -> str:
        """The texts of all logs with this ending."""
        return "".join(file.read_text() for file in sorted((self.folder / "logs" / "servers").glob(f"*{ending}")))


def machine(folder: Path) -> Machine:
    """A machine without GPUs, whose leases and caches are the folder's own."""
    for name in ("bin", "tmp", "home"):
        (folder / name).mkdir()
    system = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin"))
    env = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{system}",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONWARNINGS": "error::ResourceWarning",
    }
    return Machine(folder=folder, env=env)


def await_true(condition: Callable[[], object], *, what: str) -> None:
    """Wait for a condition that another process brings about."""
    give_up = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up, f"never came true: {what}"
        time.sleep(0.02)


def free_port() -> int:
    """A port with a few free ones after it, below those that the kernel gives to anybody who asks for any.

    Of those one could be given away between the moment when `up` finds it free and the moment when a server binds it.
    """
    port = random.randrange(10_000, 32_000, 8)
    return port if all(map(is_free, range(port, port + 4))) else free_port()
