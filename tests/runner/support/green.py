"""A green agent that plays a script, as a process: `python green.py --port 0 --ready-file F --script FILE`.

The script is JSON: tasks, seed, outcomes {key: outcome}, hold_after N (waits for the file `go` beside the script after N rows),
strange_row, reject TEXT, said TEXT, sandbox {...}. It notes the keys it ran in the file `ran` beside the script.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.contract.a2a.server import AgentProfile, Emitter, Incoming, ServerSettings, Skill, serve
from services.contract.aggregation import aggregate
from services.contract.assessment import (
    ARTIFACT_PLAN,
    ARTIFACT_RESULT,
    KIND_ACCEPTED,
    KIND_TASK_RESULT,
    META_KIND,
    META_SEQ,
    PlannedTrial,
    parse_request,
)
from services.contract.outcomes import Outcome
from services.contract.results import TaskResult
from tests.runner.support.purple import note_pid
from tests.runner.support.rows import make_plan, make_row


class ScriptedGreen:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._cancelled: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._ended: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @property
    def _script(self) -> dict[str, Any]:
        return json.loads(self._path.read_text())  # type: ignore[no-any-return] # a test's own file

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        script = self._script
        request = parse_request(incoming.text)
        cancelled = self._cancelled[incoming.task_id]
        if reason := script.get("reject"):
            await out.rejected(reason)
            return
        plan = make_plan(tasks=script.get("tasks", 4), seed=script.get("seed", 7))
        if request.config.plan_only:
            await out.artifact(ARTIFACT_PLAN, [plan.model_dump_json()])
            await out.completed("planned")
            return
        await out.working("accepted", {META_KIND: KIND_ACCEPTED})
        skip = set(request.config.completed or ())
        trials = [trial for trial in plan.trials if trial.key not in skip]
        rows: list[TaskResult] = []
        for number, trial in enumerate(trials):
            if not await self._may_go_on(script, number, cancelled):
                break
            rows.append(self._row(script, trial))
            await self._send(out, rows[-1], number)
        for trial in trials[len(rows) :]:
            rows.append(make_row(trial, Outcome.CANCELLED))
            await self._send(out, rows[-1], len(rows))
        metadata: dict[str, Any] = {"purple_agent": {"name": "Scripted purple"}, "sandbox": script.get("sandbox")}
        own = plan.model_copy(update={"trials": tuple(trials)})
        bare = [row.model_copy(update={"transcript": None}) for row in rows]
        await out.artifact(
            ARTIFACT_RESULT, [aggregate(own, bare, metadata=metadata).model_dump_json(), "Assay result:"]
        )
        if cancelled.is_set():
            await out.canceled()
        else:
            await out.completed("done")
        self._ended[incoming.task_id].set()

    async def cancel(self, task_id: str) -> None:
        self._cancelled[task_id].set()
        await self._ended[task_id].wait()

    async def _may_go_on(self, script: dict[str, Any], number: int, cancelled: asyncio.Event) -> bool:
        if number == script.get("hold_after"):
            while not self._path.with_name("go").exists():
                with suppress(TimeoutError):
                    await asyncio.wait_for(cancelled.wait(), 0.02)
                if cancelled.is_set():
                    break
        return not cancelled.is_set()

    def _row(self, script: dict[str, Any], trial: PlannedTrial) -> TaskResult:
        with self._path.with_name("ran").open("a") as file:
            file.write(f"{trial.key}\n")
        row = make_row(
            trial, Outcome(script.get("outcomes", {}).get(trial.key, "scored")), said=script.get("said", "42")
        )
        return row.model_copy(update={"task_id": "stranger"}) if script.get("strange_row") else row

    async def _send(self, out: Emitter, row: TaskResult, number: int) -> None:
        await out.working(row.model_dump_json(), {META_KIND: KIND_TASK_RESULT, META_SEQ: str(number + 1)})


def main() -> int:
    flags = argparse.ArgumentParser()
    flags.add_argument("--port", type=int, default=0)
    flags.add_argument("--ready-file", type=Path)
    flags.add_argument("--script", type=Path, required=True)
    given = flags.parse_args()
    note_pid()
    profile = AgentProfile(
        name="Scripted green",
        description="Plays a script.",
        version="0",
        skills=(Skill(id="assess", name="Assess", description="Plays a script.", tags=("test",)),),
    )
    sys.stdout.write(f"scripted green starts {os.environ.get('PLANTED_TOKEN', '')}\n")
    sys.stdout.flush()
    settings = ServerSettings(port=given.port, ready_file=given.ready_file, drain_s=0.0)
    return serve(ScriptedGreen(given.script), profile, settings)


if __name__ == "__main__":
    sys.exit(main())
