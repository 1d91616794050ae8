"""Requests to green: for the plan, and for the trials that are missing. Every finished trial is in the journal at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Final

import structlog
from pydantic import JsonValue, ValidationError

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended, Progress
from services.contract.assessment import ARTIFACT_PLAN, ARTIFACT_RESULT, KIND_TASK_RESULT, META_KIND, Plan
from services.contract.outcomes import AgentFailure
from services.contract.results import AssessmentResult, TaskResult
from services.runner.failures import (
    AgentLostError,
    InterruptedRunError,
    JournalError,
    RejectedError,
    RunnerError,
    RunTimeoutError,
)
from services.runner.journal import Journal, Recorded, RunRecord
from services.runner.participants import Agents
from services.runner.progress import Listener

log = structlog.get_logger()

CANCEL_GRACE_S: Final = 7.0
"""Green ends a cancelled assessment within 5 s and tells its last rows."""
Json = dict[str, JsonValue]


async def ask_plan(client: AgentClient, request: Mapping[str, JsonValue]) -> Plan:
    """Green's plan for a request. Raises RejectedError with green's reasons, AgentLostError when green is gone."""
    plan: Plan | None = None
    try:
        async with aclosing(client.watch(_with_config(request, plan_only=True), deadline=None)) as news:
            async for item in news:
                if isinstance(item, ArtifactReceived) and item.name == ARTIFACT_PLAN:
                    plan = Plan.model_validate_json(item.texts[0])
                elif isinstance(item, Ended) and item.state != "completed":
                    raise RejectedError(f"green {item.state} the request: {item.text or 'no reason given'}")
    except AgentFailure as failure:
        raise AgentLostError(f"green gave no plan: {failure.message} ({failure.kind})") from None
    except ValidationError as error:
        raise RejectedError(
            f"green's plan cannot be read ({error.error_count()} faults): is it an Assay green?"
        ) from None
    if plan is None:
        raise RejectedError("green completed without an artifact `plan`: is it an Assay green?")
    if not plan.trials and plan.num_shards == 1:
        raise RejectedError("green's plan is empty")
    return plan


class Execution:
    """One request to green, from the first row to the last."""

    def __init__(self, run: RunRecord, *, client: AgentClient, journal: Journal, listener: Listener) -> None:
        self._run = run
        self._client = client
        self._journal = journal
        self._listener = listener
        self._planned = {trial.key for trial in run.plan.trials}
        self._task_id = ""
        self._told: set[str] = set()
        """Keys of the trials whose row came as an update."""
        self._waiting: asyncio.Queue[TaskResult | None] = asyncio.Queue()
        """Rows that are not on disk yet; None ends them."""

    async def hold(self, agents: Agents, asked: asyncio.Event, *, timeout_s: float | None) -> None:
        """Returns when green has ended. Raises RunnerError: interrupted, out of time, an agent lost, journal not writable."""
        watching = asyncio.create_task(self._watch())
        lost = asyncio.create_task(agents.lost())
        interrupted = asyncio.create_task(asked.wait())
        try:
            ends = {watching, lost, interrupted}
            await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                return watching.result()
            await self._client.cancel(self._task_id)
            await asyncio.wait({watching}, timeout=CANCEL_GRACE_S)
            if watching.done() and isinstance(error := watching.exception(), JournalError):
                raise error
            if lost.done():
                raise lost.result()
            if interrupted.done():
                raise InterruptedRunError("interrupted")
            raise RunTimeoutError(f"the {timeout_s:g} s given to the run have passed")
        finally:
            for task in (watching, lost, interrupted):
                task.cancel()
            await asyncio.gather(watching, lost, interrupted, return_exceptions=True)

    async def _watch(self) -> None:
        completed: list[JsonValue] = [*await asyncio.to_thread(self._journal.final_keys, self._run.id)]
        values: Json = {"plan_digest": self._run.plan.digest, "stream_transcripts": True}
        text = _with_config(self._run.request, **values, **({"completed": completed} if completed else {}))
        committing = asyncio.create_task(self._commit_waiting())
        try:
            async with aclosing(self._client.watch(text, deadline=None)) as news:
                async for item in news:
                    await self._take(item)
                    if committing.done():
                        break
        except AgentFailure as failure:
            raise AgentLostError(f"green was lost: {failure.message} ({failure.kind})") from None
        except RunnerError:
            await self._client.cancel(self._task_id)
            raise
        finally:
            self._waiting.put_nowait(None)
            await self._committed(committing)

    async def _committed(self, committing: asyncio.Task[None]) -> None:
        """What came is on disk, however the watch ended."""
        try:
            await committing
        except RunnerError:
            await self._client.cancel(self._task_id)
            raise

    async def _commit_waiting(self) -> None:
        """Commit rows in the order they came; those that come while a commit runs share the next one."""
        more = True
        while more:
            rows = [await self._waiting.get()]
            while not self._waiting.empty():
                rows.append(self._waiting.get_nowait())
            more = None not in rows
            await self._commit([row for row in rows if row is not None])

    async def _take(self, item: Progress | ArtifactReceived | Ended) -> None:
        if isinstance(item, Progress):
            self._task_id = item.task_id or self._task_id
            if item.metadata.get(META_KIND) == KIND_TASK_RESULT:
                row = _row(item.text)
                self._keep(row)
                self._told.add(row.key)
        elif isinstance(item, ArtifactReceived):
            if item.name == ARTIFACT_RESULT:
                await self._take_result(item.texts)
        elif item.state == "rejected":
            raise RejectedError(f"green rejected the request: {item.text}")
        elif item.state not in {"completed", "failed"}:
            raise AgentLostError(f"green ended the assessment as {item.state}: {item.text or 'no reason given'}")

    def _keep(self, row: TaskResult) -> None:
        if row.key not in self._planned:
            raise AgentLostError(
                f"green sent a row for {row.key!r}, which is not in its plan; nothing after it was taken"
            )
        self._waiting.put_nowait(row)

    async def _commit(self, rows: Sequence[TaskResult]) -> None:
        recorded = await asyncio.to_thread(self._journal.record_all, self._run.id, rows)
        for row, became in zip(rows, recorded, strict=True):
            log.debug("trial_recorded", trial=row.key, outcome=row.outcome, recorded=became)
            if became in {Recorded.ADDED, Recorded.REPLACED}:
                self._listener.finished(row)
            elif became is Recorded.REFUSED:
                await asyncio.to_thread(
                    self._journal.note, self._run.id, "row_refused", key=row.key, outcome=str(row.outcome)
                )

    async def _take_result(self, texts: Sequence[str]) -> None:
        """Keep what green says of itself, and rows whose update was missed; their answers may be shortened."""
        try:
            result = AssessmentResult.model_validate_json(texts[0])
        except (ValidationError, IndexError):
            log.warning("result_artifact_unreadable", run=self._run.id)
            return
        await asyncio.to_thread(self._journal.store_reported, self._run.id, result.evaluation_metadata)
        for row in result.results:
            if row.key not in self._told:
                self._keep(row)


def _row(text: str) -> TaskResult:
    try:
        return TaskResult.model_validate_json(text)
    except ValidationError as error:
        raise AgentLostError(f"green sent a row that cannot be read: {error}") from None


def _with_config(request: Mapping[str, JsonValue], **values: JsonValue) -> str:
    config = request["config"]
    if not isinstance(config, dict):
        raise TypeError("config is an object")
    return json.dumps({**request, "config": config | values}, ensure_ascii=False)
