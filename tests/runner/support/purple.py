"""A purple agent that says one thing, as a process: `python purple.py --port 0 --ready-file F`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from services.contract.a2a.server import AgentProfile, Emitter, Incoming, ServerSettings, Skill, serve


class Fixed:
    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        await out.artifact("reply", ["42"])
        await out.completed()

    async def cancel(self, task_id: str) -> None:
        pass


def note_pid() -> None:
    """Tell the test who we are."""
    if path := os.environ.get("AGENT_PIDS"):
        with Path(path).open("a") as file:
            file.write(f"{os.getpid()}\n")


def main() -> int:
    flags = argparse.ArgumentParser()
    flags.add_argument("--port", type=int, default=0)
    flags.add_argument("--ready-file", type=Path)
    given = flags.parse_args()
    note_pid()
    profile = AgentProfile(
        name="Scripted purple",
        description="Says one thing.",
        version="1",
        skills=(Skill(id="say", name="Say", description="Says one thing.", tags=("test",)),),
    )
    return serve(Fixed(), profile, ServerSettings(port=given.port, ready_file=given.ready_file, drain_s=0.0))


if __name__ == "__main__":
    sys.exit(main())
