"""The one place where seeds are derived.

A seed depends on the run seed and on names of things in the run, never on a URL, a model, the time or global state, so two
participants of one run meet the same draws.
"""

from __future__ import annotations

import hashlib
import json
import random


def derive(run_seed: int, *names: str | int) -> int:
    """A 63-bit seed for the thing called `names`, for example `derive(42, "options", task_id, trial, "noise")`."""
    material = json.dumps([run_seed, *names], ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(material.encode()).digest()[:8], "big") >> 1


def generator(run_seed: int, *names: str | int) -> random.Random:
    """A generator of its own for the thing called `names`; nothing in Assay draws from the module-level one."""
    return random.Random(derive(run_seed, *names))  # noqa: S311 - sampling, not cryptography


def rank(run_seed: int, purpose: str, name: str) -> str:
    """A hex key that orders names at random and independently of the order they came in (finance specification 2)."""
    return hashlib.sha256(f"{run_seed}|{purpose}|{name}".encode()).hexdigest()
