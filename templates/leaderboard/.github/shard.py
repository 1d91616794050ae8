"""Writes the scenario of one shard: `python shard.py SCENARIO OUT`. INDEX, SHARDS and INSTANCES come from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tomli
import tomli_w


def main(scenario: Path, out: Path) -> None:
    """Copy the scenario with the shard's keys in [config]; INSTANCES is the number of tasks over all shards, or empty."""
    tables = tomli.loads(scenario.read_text(encoding="utf-8"))
    config = tables.setdefault("config", {})
    config |= {"shard_index": int(os.environ["INDEX"]), "num_shards": int(os.environ["SHARDS"])}
    if instances := os.environ.get("INSTANCES"):
        config["num_instances"] = int(instances)
    out.write_text(tomli_w.dumps(tables), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
