"""Scores stored transcripts again, by another judge or a corrected scorer; the agent is not asked.

The result is a run of its own beside the old one. Trials that ended before they could be scored keep their row; a trial whose
task has changed since, or that has no transcript, stays missing and is named.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Final

import structlog
from pydantic import JsonValue, ValidationError

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended, Progress
from services.contract.assessment import ARTIFACT_RESULT, KIND_TASK_RESULT, META_KIND, Plan
from services.contract.conversation import Transcript
from services.contract.outcomes import SANDBOX, SCORER, AgentFailure, Outcome
from services.contract.results import AssessmentResult, Attempt, TaskResult
from services.runner.execution import ask_plan
from services.runner.failures import AgentLostError, InterruptedRunError, RejectedError, RunnerError
from services.runner.interruption import interruption
from services.runner.journal import RESCORED_FROM, Journal, RunRecord, StoredTranscript
from services.runner.locks import run_lock
from services.runner.participants import variables_for
from services.runner.provenance import gather
from services.runner.run import (
    RunOptions,
    RunOutcome,
    agents_of,
    client_of,
    conclude,
    new_run_id,
)
from services.runner.scenario import Scenario

log = structlog.get_logger()

BATCH_BYTES: Final = 4_000_000
"""Of transcripts in one request, as they travel; green takes messages of 8 MiB."""
MOST_BYTES: Final = 7_500_000
"""A longer transcript cannot be sent."""
SCORED_AGAIN: Final = frozenset({Outcome.SCORED, Outcome.JUDGE_ERROR})
"""Outcomes of trials whose conversation came to its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What becomes of each trial of the new plan."""

    again: dict[str, TaskResult]
    """Old rows of the trials to score again, by key."""
    kept: list[TaskResult]
    lost: dict[str, str]
    """Why a trial cannot be scored again, by key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What is scored again: a stored run, or a file."""

    name: str
    reference: str
    """Run id or path, for the record and for doing it once more."""
    scenario: Scenario
    """Whose green scores; its participants are not started."""
    participants: JsonValue
    """As the request names them."""
    asked: Mapping[str, str] | None
    """Digest of each task that was asked, by trial key; None: not known."""
    rows: Callable[[Plan], Sequence[TaskResult]]
    """What is known of the trials. Raises RunnerError for a plan under which they cannot be scored."""
    transcripts: Callable[[], Iterator[tuple[str, StoredTranscript]]]
    """By trial key, anew with each call."""
    provenance: Mapping[str, JsonValue]
    reported: Mapping[str, JsonValue]
    stored: Mapping[str, JsonValue]
    """The scenario as the journal keeps it."""
    remarks: Callable[[Plan], Sequence[str]] = lambda _plan: ()
    """What a reader of the result should know of the plan."""


async def rescore_run(reference: str, options: RunOptions, *, judge: Mapping[str, JsonValue]) -> RunOutcome:
    """Score a stored run again; `judge` is merged into the suite's `llm_eval`. Raises RunnerError."""
    with closing(Journal.open(options.results_dir, create=False)) as journal:
        return await rescore_source(_of_run(journal, reference), options, judge=judge)


def _of_run(journal: Journal, reference: str) -> Source:
    run = journal.run(reference)
    return Source(
        name=run.name,
        reference=run.id,
        scenario=Scenario.model_validate(run.scenario).model_copy(update={"participants": ()}),
        participants=run.request["participants"],
        asked={trial.key: trial.task_digest for trial in run.plan.trials},
        rows=lambda _plan: journal.rows(run.id),
        transcripts=lambda: journal.transcripts(run.id),
        provenance=run.provenance,
        reported=run.reported,
        stored=run.scenario,
    )


async def rescore_source(source: Source, options: RunOptions, *, judge: Mapping[str, JsonValue]) -> RunOutcome:
    """Score transcripts again, as a new run; `judge` is merged into the suite's `llm_eval`. Raises RunnerError."""
    stop = interruption()
    async with AsyncExitStack() as stack:
        journal = Journal.open(options.results_dir)
        stack.callback(journal.close)
        scenario = source.scenario
        if judge:
            scenario = scenario.with_config(judge=_asked(scenario.config.get("judge"), judge))
        run_id = new_run_id(f"{source.name} rescored")
        stack.enter_context(run_lock(options.results_dir / run_id))
        variables = variables_for(scenario, options.env_file)
        async with agents_of(scenario, run_id, options, variables) as agents:
            client = await stack.enter_async_context(client_of(scenario, agents))
            request: dict[str, JsonValue] = {"participants": source.participants, "config": scenario.config}
            run = RunRecord(
                id=run_id,
                created=datetime.now(UTC).isoformat(timespec="microseconds"),
                name=f"{source.name} rescored",
                scenario=dict(source.stored),
                request=request,
                plan=await ask_plan(client, request),
                provenance=_provenance(source, gather(scenario, agents, variables)),
                reported=dict(source.reported),
            )
            for remark in source.remarks(run.plan):
                options.listener.says(remark)
            work = _work(source, run.plan)
            await asyncio.to_thread(journal.create_run, run)
            await asyncio.to_thread(_keep, journal, source, run_id, work.kept)
            options.listener.began(run, work.kept)
            rescoring = _Rescoring(run, client=client, journal=journal, options=options)
            error: RunnerError | None = None
            try:
                async with stop.orderly() as asked:
                    await rescoring.hold(source, work, asked)
            except RunnerError as ended:
                error = ended
            finally:
                options.listener.ended()
            _say_lost(options, work.lost | rescoring.unsent)
        return await conclude(journal, run_id, options, error)


def _asked(before: object, judge: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The judge of the first request with what is named now. Who names one switches it on, in the place of a panel."""
    kept = {name: value for name, value in before.items() if name != "panel"} if isinstance(before, dict) else {}
    return {**kept, **judge, "enabled": True}


def _provenance(source: Source, now: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Green as it is now; of the agent under test, which is not asked, what the first run knew."""
    before = source.provenance
    agents, earlier = now["agents"], before.get("agents")
    if isinstance(agents, dict) and isinstance(earlier, dict):
        now |= {"agents": earlier | agents}
    kept = {name: before[name] for name in ("models", "reference_engine") if name in before}
    return {**before, **now, **kept, RESCORED_FROM: source.reference}


def _keep(journal: Journal, source: Source, run_id: str, rows: list[TaskResult]) -> None:
    """Store rows that stay as they are, with all that was said in them."""
    by_key = {row.key: row for row in rows}
    for key, said in source.transcripts():
        if (row := by_key.get(key)) is not None:
            journal.record(run_id, _with_words(row, said))
            del by_key[key]
    journal.record_all(run_id, list(by_key.values()))


def _with_words(row: TaskResult, said: StoredTranscript) -> TaskResult:
    judgements = (
        judgement.model_copy(update={"raw": words})
        for judgement, words in zip(row.judgements, chain(said.judged, repeat("")), strict=False)
    )
    return row.model_copy(
        update={
            "transcript": said.transcript,
            "attempts": _attempts(row, said),
            "judgements": tuple(judgements),
        }
    )


def _attempts(row: TaskResult, said: StoredTranscript) -> tuple[Attempt, ...]:
    """The row's attempts with what was said in them."""
    words = chain(said.attempts, repeat(None))
    return tuple(
        attempt.model_copy(update={"transcript": each}) for attempt, each in zip(row.attempts, words, strict=False)
    )


def _work(source: Source, new: Plan) -> _Work:
    by_key = {row.key: row for row in source.rows(new)}
    planned = {trial.key for trial in new.trials}
    known = by_key.keys() if source.asked is None else source.asked.keys()
    work = _Work(again={}, kept=[], lost=dict.fromkeys(known - planned, "green no longer plans its task"))
    for trial in new.trials:
        row = by_key.get(trial.key)
        if row is None:
            work.lost[trial.key] = "there is no row of it"
        elif source.asked is not None and source.asked[trial.key] != trial.task_digest:
            work.lost[trial.key] = "its task has changed since"
        elif row.outcome in SCORED_AGAIN or (row.error is not None and row.error.kind in {SANDBOX, SCORER}):
            work.again[trial.key] = row
        else:
            work.kept.append(row)
    return work


def _say_lost(options: RunOptions, lost: Mapping[str, str]) -> None:
    for reason in sorted(set(lost.values())):
        keys = [key for key, why in lost.items() if why == reason]
        options.listener.says(f"{len(keys)} trials are not scored again, {reason}: {', '.join(keys[:3])}")


class _Rescoring:
    """The requests to green, batch by batch."""

    def __init__(self, run: RunRecord, *, client: AgentClient, journal: Journal, options: RunOptions) -> None:
        self._run = run
        self._client = client
        self._journal = journal
        self._options = options
        self._task_id = ""
        self._told: set[str] = set()
        """Keys of the trials that have their new row."""
        self._reported: dict[str, JsonValue] = {"purple_agent": run.reported.get("purple_agent", {})}
        self.unsent: dict[str, str] = {}
        """Trials that were left out, by key, with the reason."""

    async def hold(self, source: Source, work: _Work, asked: asyncio.Event) -> None:
        """Score every batch. Raises RunnerError, also when it is asked to stop."""
        silent = dict.fromkeys(work.again, "it has no transcript")
        stop = asyncio.create_task(asked.wait())
        try:
            for batch in self._batches(source, work):
                silent |= dict.fromkeys(batch, "green sent no row of it")
                scoring = asyncio.create_task(self._score(batch, work.again))
                await asyncio.wait({scoring, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not scoring.done():
                    scoring.cancel()
                    await asyncio.gather(scoring, return_exceptions=True)
                    await self._client.cancel(self._task_id)
                    raise InterruptedRunError("interrupted")
                await scoring
        finally:
            stop.cancel()
        self.unsent = {key: why for key, why in (silent | self.unsent).items() if key not in self._told}

    def _batches(self, source: Source, work: _Work) -> Iterator[dict[str, StoredTranscript]]:
        batch: dict[str, StoredTranscript] = {}
        size = 0
        for key, stored in source.transcripts():
            if key not in work.again or stored.transcript is None:
                continue
            length = _length(stored.transcript)
            if length > MOST_BYTES:
                self.unsent[key] = f"its transcript takes more than {MOST_BYTES} bytes"
                continue
            if batch and size + length > BATCH_BYTES:
                yield batch
                batch, size = {}, 0
            batch[key] = stored
            size += length
        if batch:
            yield batch

    async def _score(self, batch: Mapping[str, StoredTranscript], old: Mapping[str, TaskResult]) -> None:
        config = self._run.request["config"]
        values = {"plan_digest": self._run.plan.digest, "stream_transcripts": True}
        request = {
            "config": {**(config if isinstance(config, dict) else {}), **values},
            "transcripts": {
                key: stored.transcript.model_dump(mode="json")
                for key, stored in batch.items()
                if stored.transcript is not None
            },
        }
        try:
            async with aclosing(self._client.watch(json.dumps(request, ensure_ascii=False), deadline=None)) as news:
                async for item in news:
                    await self._take(item, batch, old)
        except AgentFailure as failure:
            raise AgentLostError(f"green was lost: {failure.message} ({failure.kind})") from None

    async def _take(
        self,
        item: Progress | ArtifactReceived | Ended,
        batch: Mapping[str, StoredTranscript],
        old: Mapping[str, TaskResult],
    ) -> None:
        if isinstance(item, Ended):
            return _check_end(item)
        try:
            if isinstance(item, Progress):
                self._task_id = item.task_id or self._task_id
                if item.metadata.get(META_KIND) == KIND_TASK_RESULT:
                    row = TaskResult.model_validate_json(item.text)
                    await self._record(_merged(row, old[row.key], batch[row.key]))
            elif item.name == ARTIFACT_RESULT:
                result = AssessmentResult.model_validate_json(item.texts[0])
                for row in result.results:  # their updates may have been missed
                    if row.key not in self._told:
                        await self._record(_merged(row, old[row.key], batch[row.key]))
                await self._report(result.evaluation_metadata)
        except (ValidationError, IndexError, KeyError) as error:
            raise AgentLostError(f"green sent something that cannot be read: {error}") from None

    async def _record(self, row: TaskResult) -> None:
        await asyncio.to_thread(self._journal.record, self._run.id, row)
        self._told.add(row.key)
        self._options.listener.finished(row)

    async def _report(self, told: Mapping[str, JsonValue]) -> None:
        """What green says of itself, summed over the batches; of the agent it was told nothing."""
        before = self._reported
        sums = {name: _number(before.get(name)) + _number(told.get(name)) for name in ("rescored", "duration_s")}
        once = {"purple_agent": before["purple_agent"], "started_at": before.get("started_at", told.get("started_at"))}
        self._reported = {**told, **sums, **once}
        await asyncio.to_thread(self._journal.store_reported, self._run.id, self._reported)


def _check_end(item: Ended) -> None:
    if item.state == "rejected":
        raise RejectedError(f"green rejected the request: {item.text}")
    if item.state not in {"completed", "failed"}:
        raise AgentLostError(f"green ended the assessment as {item.state}: {item.text or 'no reason given'}")


def _number(value: JsonValue) -> float:
    return value if isinstance(value, int | float) else 0


def _length(transcript: Transcript) -> int:
    """Bytes on the wire, where the request is a JSON text inside a JSON message: every quote is escaped twice."""
    inner = json.dumps(transcript.model_dump(mode="json"), ensure_ascii=False)
    return len(json.dumps(inner, ensure_ascii=False).encode("utf-8", "replace"))


def _merged(row: TaskResult, old: TaskResult, said: StoredTranscript) -> TaskResult:
    """The new verdict with what is known of the conversation."""
    latency = row.latency.model_copy(update={"agent_s": old.latency.agent_s, "total_s": old.latency.total_s})
    return row.model_copy(
        update={
            "usage": old.usage,
            "model": old.model,
            "latency": latency,
            "attempts": _attempts(old, said),
            "transcript": said.transcript,
        }
    )
