"""The main job: strangers' clients, right and wrong agents, through the real green and its sandbox."""

import json
from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from services.contract.outcomes import Outcome
from services.contract.results import AssessmentResult, TaskResult
from services.green_agent.toolbox import SandboxSettings
from tests.support.greens import assess, green
from tests.support.purples import purple, replay
from tests.support.raw_agents import raw_agent, replies
from tests.support.raw_client import artifact_texts, send, stream
from tests.support.right_answers import canonical_solutions, right_answers

MIXED = {"num_tasks": 6}


@pytest.fixture
async def green_url() -> AsyncIterator[str]:
    async with green(sandbox=SandboxSettings(backend="auto", allow_unsafe=True)) as url:
        yield url


async def test_canonical_solutions_score_164_of_164(green_url: str) -> None:
    solutions = dict(canonical_solutions())

    async with purple(replay(solutions)) as agent:
        seen = await assess(green_url, agent.url, {"datasets": ["humaneval"]})

    failed = [(row.task_id, row.explanation) for row in seen.rows if not row.passed]
    assert failed == []
    assert len(seen.rows) == 164
    assert (seen.result.overall_score.score, seen.result.overall_score.coverage) == (100.0, 1.0)


async def test_right_option_answers_score_100_and_wrong_ones_0(green_url: str) -> None:
    async with purple(replay(dict(right_answers(27)))) as agent:
        right = await assess(green_url, agent.url, {"datasets": ["options"], "num_tasks": 27})
    async with purple(replay({})) as agent:
        wrong = await assess(green_url, agent.url, {"datasets": ["options"], "num_tasks": 27})

    assert [row.score for row in right.rows] == [1.0] * 27
    assert [row.score for row in wrong.rows] == [0.0] * 27
    section = right.result.section_scores["options_trading"]
    assert section is not None
    assert section.sub_scores == {
        "pnl_accuracy": 100.0,
        "greeks_accuracy": 100.0,
        "strategy_quality": 100.0,
        "risk_management": 100.0,
    }


@pytest.mark.parametrize("dialect", ["1.0", "0.3"])
async def test_a_strangers_client_completes_an_assessment(green_url: str, dialect: str) -> None:
    async with purple(replay({})) as agent:
        request = json.dumps({"participants": {"agent": agent.url}, "config": MIXED})
        task = await to_thread(send, green_url, request, dialect=dialect)

    text, summary = artifact_texts(task, "evaluation_result")
    result = AssessmentResult.model_validate_json(text)
    assert summary.startswith("Assay result: 0.0 of 100, coverage 100.0%")
    assert Counter(row.benchmark for row in result.results) == {"options": 3, "humaneval": 3}
    assert '"num_tasks":6' in text, "integers survive the way"
    assert task["status"]["state"] in {"completed", "TASK_STATE_COMPLETED"}


@pytest.mark.parametrize("dialect", ["1.0", "0.3"])
async def test_every_finished_trial_is_streamed_before_the_artifact(green_url: str, dialect: str) -> None:
    async with purple(replay({})) as agent:
        request = json.dumps({"participants": {"agent": agent.url}, "config": MIXED})
        events = await to_thread(lambda: list(stream(green_url, request, dialect=dialect)))

    texts = [json.dumps(event) for event in events]
    rows = [number for number, text in enumerate(texts) if '"assay/kind": "task_result"' in text]
    artifact = next(number for number, text in enumerate(texts) if "evaluation_result" in text)
    assert len(rows) == 6
    assert max(rows) < artifact < len(events)


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_of_the_old_dialect_is_examined_without_configuration(
    green_url: str, *, streaming: bool
) -> None:
    solutions = dict(canonical_solutions())
    one = next(iter(solutions.values()))
    async with raw_agent("0.3", replies(one), streaming=streaming) as agent:
        seen = await assess(green_url, agent.url, {"datasets": ["humaneval"], "num_tasks": 3})

    assert sorted(row.passed for row in seen.rows) == [False, False, True]
    assert seen.result.evaluation_metadata["purple_agent"] == {"name": "Raw", "version": "0.0.1", "dialect": "0.3"}


async def test_the_same_plan_meets_every_agent(green_url: str) -> None:
    digests = set()
    for _ in range(2):
        async with purple(replay({})) as agent:
            seen = await assess(green_url, agent.url, MIXED | {"model_id": agent.url})
        digests.add(seen.result.evaluation_metadata["plan_digest"])

    assert len(digests) == 1


async def test_shards_together_give_the_unsharded_rows(green_url: str) -> None:
    answers = dict(list(right_answers(18))[::2])
    config = {"datasets": ["options"], "num_tasks": 18}
    async with purple(replay(answers)) as agent:
        whole = await assess(green_url, agent.url, config)
        shards = [
            await assess(green_url, agent.url, config | {"shard_index": index, "num_shards": 4}) for index in range(4)
        ]

    def scores(rows: list[TaskResult]) -> dict[str, float | None]:
        return {row.key: row.score for row in rows}

    assert scores([row for shard in shards for row in shard.rows]) == scores(whole.rows)
    assert {shard.result.evaluation_metadata["plan_digest"] for shard in shards} == {
        whole.result.evaluation_metadata["plan_digest"]
    }


async def test_a_resumed_assessment_runs_only_what_is_missing_and_refuses_another_plan(green_url: str) -> None:
    async with purple(replay({})) as agent:
        first = await assess(green_url, agent.url, MIXED)
        digest = first.result.evaluation_metadata["plan_digest"]
        done = [row.key for row in first.rows[:4]]
        rest = await assess(green_url, agent.url, MIXED | {"plan_digest": digest, "completed": done})
        other = await assess(green_url, agent.url, {"num_tasks": 7, "plan_digest": digest})
        strange = await assess(green_url, agent.url, MIXED | {"completed": ["options|nope|0"]})

    assert {row.key for row in rest.rows} == {row.key for row in first.rows} - set(done)
    assert rest.state == "completed"
    assert other.state == "rejected"
    assert "plan_digest: the plan is now sha256:" in other.text
    assert strange.state == "rejected"
    assert "completed: 1 keys are not in the plan, such as 'options|nope|0'" in strange.text


async def test_without_a_sandbox_code_is_left_out_aloud_and_never_run() -> None:
    nowhere = SandboxSettings(backend="container", url="unix:///nonexistent/sandbox.sock")
    async with green(sandbox=nowhere) as url, purple(replay({})) as agent:
        seen = await assess(url, agent.url, MIXED)
        only_code = await assess(url, agent.url, {"datasets": ["humaneval"]})

    assert {row.benchmark for row in seen.rows} == {"options"}
    assert "humaneval runs untrusted code and is left out" in seen.updates[0]
    assert "humaneval" in str(seen.result.shortfalls)
    assert only_code.state == "rejected"
    assert "left out" in only_code.text


async def test_a_trial_tells_which_sandbox_judged_it_and_what_was_asked(green_url: str) -> None:
    async with purple(replay(dict(canonical_solutions()))) as agent:
        config = {"datasets": ["humaneval"], "num_tasks": 1, "stream_transcripts": True}
        seen = await assess(green_url, agent.url, config)

    (row,) = seen.rows
    assert row.outcome is Outcome.SCORED
    assert row.metrics["sandbox"] in {"bwrap-warm", "bwrap-cold", "unsafe-subprocess"}
    assert row.digests.dataset.startswith("sha256:")
    assert row.digests.prompt.startswith("sha256:")
    assert row.transcript is not None
    assert "def " in row.transcript.turns[0].question
    assert seen.result.results[0].transcript is None
