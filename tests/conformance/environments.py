"""Virtual environments of the kits, outside the checkout, one a list of requirements."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

PEERS = Path(__file__).parent / "peers.txt"


class CannotRunError(Exception):
    """A suite found nothing out: pip cannot get its packages here, or it broke. The text is what it said last."""


def python_for_kit(checkout: Path) -> Path:
    """A Python with what the kit's pyproject.toml asks for."""
    return _python(tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["dependencies"])


def python_for_peers() -> Path:
    """A Python with the 0.3 SDK."""
    return _python([line for line in PEERS.read_text().splitlines() if line and not line.startswith("#")])


def _python(requirements: Sequence[str]) -> Path:
    digest = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    home = _cache() / digest
    home.mkdir(parents=True, exist_ok=True)
    python, complete = home / "bin" / "python", home / ".complete"
    with (home.parent / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *requirements]
            installed = subprocess.run(command, check=False, capture_output=True, text=True)
            if installed.returncode:
                raise CannotRunError(installed.stderr.strip()[-500:])
            complete.touch()
    return python


def _cache() -> Path:
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"
    return Path(os.environ.get("ASSAY_CACHE") or fallback) / "conformance"
