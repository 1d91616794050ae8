"""A judge with faults in one of five of its calls, through the real green: no agent loses a point, and every fault is told."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from services.contract.a2a.client import AgentClient, Ended, Progress
from services.contract.a2a.server import Incoming
from services.contract.outcomes import Outcome
from services.contract.results import TaskResult
from tests.green_agent.judge.bench import ids_in, met, served
from tests.support.engine import running_engine
from tests.support.greens import Seen, assess, green
from tests.support.processes import BIN, service
from tests.support.purples import Say, ScriptedPurple, purple

TASKS = 30
"""Of each data set."""
CRITERIA = 12
"""Of each task, so that its verdict comes in two batches."""
KINDS = ("cut", "think-in-content", "empty-content", "refuse", "truncated", "503", "429", "overflow", "401", "hang")
EACH = 1 - 0.8 ** (1 / len(KINDS))
SECRET = "sk" + "-of-the-suite-3f9a"


def suite(folder: Path, url: str, *, seconds: float = 2.0) -> Path:
    """A suite of both data sets, with this judge."""
    rubric = str([{"operator": "correctness", "criteria": f"says {n}"} for n in range(CRITERIA)])
    lines = [f'What is item {n}?,The margin is {1000 + n}.,"{rubric}"' for n in range(TASKS)]
    (folder / "public.csv").write_text("\n".join(["Question,Answer,Rubric", *lines]))
    weights = {"weight_class": "important", "important_weight": 5}
    rows: list[dict[str, object]] = [
        {
            "task": f"t{n}",
            "turns": 1,
            "prompt_0": f"Advise on item {n}!",
            "reference_texts_0": [f"The margin is {1000 + n}."],
            "rubric": [{"id": f"r{k}", "title": f"says {k}", "annotations": weights} for k in range(CRITERIA)],
        }
        for n in range(TASKS)
    ]
    (folder / "prbench").mkdir()
    (folder / "prbench" / "finance.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = folder / "suite.yaml"
    path.write_text(
        f"name: judged\ndatasets:\n  - {{type: public_csv, path: {folder / 'public.csv'}}}\n"
        f"  - {{type: prbench, path: {folder / 'prbench'}, splits: [finance]}}\n"
        f"llm_eval: {{model: reference, api_base: '{url}', api_key: {SECRET}, cache: false, timeout_seconds: {seconds}, "
        "concurrency: 50}\n"
    )
    return path


def item(text: str) -> int:
    """Number of the question's item."""
    found = re.search(r"item (\d+)", text)
    assert found is not None
    return int(found[1])


def even_ones_are_right(incoming: Incoming, _before: int) -> Say:
    number = item(incoming.text)
    return Say(text=f"It is {1000 + number}." if number % 2 == 0 else "It is 7.")


def true_score(row: TaskResult) -> float:
    return 1.0 if item(row.question) % 2 == 0 else 0.0


async def judged(folder: Path, *faults: str) -> Seen:
    with running_engine(*faults) as engine:
        async with green(suite=suite(folder, engine.url)) as url, purple(even_ones_are_right) as agent:
            return await assess(url, agent.url)


async def test_with_a_fifth_of_the_judges_calls_faulty_no_agent_loses_a_point(tmp_path: Path) -> None:
    seen = await judged(tmp_path, *(f"{kind}:rate={EACH:.6f}:match=BEGIN" for kind in KINDS))

    rows = seen.result.results
    scored = [row for row in rows if row.outcome is Outcome.SCORED]
    failed = [row for row in rows if row.outcome is not Outcome.SCORED]
    assert (seen.state, len(rows), len(seen.rows)) == ("completed", 2 * TASKS, 2 * TASKS)
    assert [row.score for row in scored] == [true_score(row) for row in scored]
    assert len(scored) > 0.6 * len(rows)
    assert {(row.outcome, row.score) for row in failed} <= {(Outcome.JUDGE_ERROR, None)}
    assert all(row.error is not None and row.error.kind for row in failed)
    section = seen.result.section_scores["knowledge_retrieval"]
    assert section is not None
    assert section.lower <= 50.0 <= section.upper
    assert (section.lower < section.upper) is bool(failed)
    told = seen.result.evaluation_metadata["judge"]
    assert isinstance(told, dict)
    calls = [call for row in rows for call in row.judgements]
    assert told["calls"] == len(calls)
    assert told["failures"] == dict(sorted(Counter(call.kind for call in calls if call.kind).items()))
    assert told["failures"]
    assert told["cost_usd"] is None


async def test_rows_carry_every_call_without_its_words_and_the_record_names_the_judge(tmp_path: Path) -> None:
    seen = await judged(tmp_path)

    for row in (*seen.rows, *seen.result.results):
        assert {call.purpose for call in row.judgements} == {"criteria 1-10", "criteria 11-12"}
        assert {(call.model, call.raw, call.kind, call.cached) for call in row.judgements} == {
            ("reference", "", "", False)
        }
        assert all(call.input_tokens and call.output_tokens and call.cost_usd is None for call in row.judgements)
        assert sorted(name for call in row.judgements for name in call.verdicts) == [f"c{n:02d}" for n in range(1, 13)]
        assert row.scored_by.startswith("reference@")
    config, told = seen.result.evaluation_metadata["judge_config"], seen.result.evaluation_metadata["judge"]
    assert isinstance(config, dict)
    assert isinstance(told, dict)
    assert (config["headline"], config["cache"]) == ("judge: uncalibrated", False)
    assert (told["models"], told["calls"], told["failures"]) == (["reference"], 4 * TASKS, {})
    assert SECRET not in json.dumps(seen.artifacts)
    assert SECRET not in "".join([*seen.updates, *(row.model_dump_json() for row in seen.rows)])


async def test_reasons_that_cannot_be_encoded_do_not_end_the_assessment(tmp_path: Path) -> None:
    def says(prompt: str) -> str:
        return met(*ids_in(prompt), of=ids_in(prompt)).replace('"reason": ""', r'"reason": "\ud83d"')

    async with (
        served(says) as judge,
        purple(even_ones_are_right) as agent,
        green(suite=suite(tmp_path, judge.url)) as url,
    ):
        seen = await assess(url, agent.url, {"num_tasks": 4})

    assert seen.state == "completed"
    assert [(row.outcome, row.score) for row in seen.result.results] == [(Outcome.SCORED, 1.0)] * 4


async def test_an_assessment_is_cancelled_while_its_judge_is_silent(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    def says(_: str) -> None:
        arrived.set()

    async with asyncio.timeout(20), served(says) as judge, purple(even_ones_are_right) as agent:
        path = suite(tmp_path, judge.url, seconds=600)
        async with green(suite=path) as url:
            state, rows = await cancelled(url, agent, arrived)

    assert state == "canceled"
    assert Counter((row.outcome, row.score) for row in rows) == {(Outcome.CANCELLED, None): 2 * TASKS}


async def cancelled(url: str, agent: ScriptedPurple, arrived: asyncio.Event) -> tuple[str, list[TaskResult]]:
    """Cancel an assessment once the judge was asked; the state it ends in and the rows it sent."""
    rows: list[TaskResult] = []
    state, stopping = "", None
    async with aclosing(AgentClient(url)) as client:
        async for event in client.watch(json.dumps({"participants": {"agent": agent.url}}), deadline=None):
            if isinstance(event, Progress):
                if event.text.startswith("{"):
                    rows.append(TaskResult.model_validate_json(event.text))
                if stopping is None and event.task_id:
                    stopping = asyncio.create_task(_cancel(client, event.task_id, arrived))
            elif isinstance(event, Ended):
                state = event.state
        assert stopping is not None
        await stopping
    return state, rows


async def _cancel(client: AgentClient, task_id: str, arrived: asyncio.Event) -> None:
    await arrived.wait()
    await client.cancel(task_id)


def assay(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [str(BIN / "assay"), *arguments, "--results-dir", str(folder / "results")]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, Mapping[str, Any]]:
    document = json.loads(Path(json.loads(done.stdout)["results_json"]).read_text())
    return {row["task_id"]: row for row in document["results"][0]["results"]}


@pytest.mark.parametrize("panel", [False, True])
async def test_a_run_is_scored_again_by_another_judge(tmp_path: Path, *, panel: bool) -> None:
    def half(prompt: str) -> str:
        return met(*(one for one in ids_in(prompt) if int(one[1:]) % 2), of=ids_in(prompt))

    async with served(half) as other, purple(even_ones_are_right) as agent:
        with running_engine("refuse:match=BEGIN") as engine:
            path = suite(tmp_path, engine.url)
            if panel:
                path.write_text(path.read_text().replace("model: reference", "panel: [{model: reference}]"))
            with service(["green-agent", "serve", "--eval-config", str(path)]) as evaluator:
                (tmp_path / "scenario.toml").write_text(
                    f'[green_agent]\nendpoint = "{evaluator.url}"\n'
                    f'[[participants]]\nrole = "purple"\nendpoint = "{agent.url}"\n[config]\nnum_tasks = 8\n'
                )
                first = await asyncio.to_thread(assay, tmp_path, "run", "scenario.toml", "--json")
                asked = len(agent.asked)
                options = ("--judge", "another", "--judge-base", other.url, "--json")
                again = await asyncio.to_thread(assay, tmp_path, "rescore", "latest", *options)

    before, after = rows_of(first), rows_of(again)
    assert {(row["outcome"], row["error"]["kind"]) for row in before.values()} == {("judge_error", "refused")}
    assert again.returncode == 0, again.stderr
    assert {(row["outcome"], row["score"]) for row in after.values()} == {("scored", 0.5)}
    assert {call["model"] for row in after.values() for call in row["judgements"]} == {"another"}
    assert len(agent.asked) == asked
    assert before.keys() == after.keys()
    assert SECRET not in first.stdout + first.stderr + again.stdout + again.stderr


async def test_a_key_of_the_judge_in_a_scenario_is_written_nowhere(tmp_path: Path) -> None:
    key = "of-the-scenario" + "-77aa91"
    with running_engine() as engine:
        path = suite(tmp_path, engine.url)
        path.write_text(path.read_text().partition("llm_eval")[0])
        async with purple(even_ones_are_right) as agent:
            with service(["green-agent", "serve", "--eval-config", str(path)]) as evaluator:
                (tmp_path / "scenario.toml").write_text(
                    f'[green_agent]\nendpoint = "{evaluator.url}"\n'
                    f'[[participants]]\nrole = "purple"\nendpoint = "{agent.url}"\n[config]\nnum_tasks = 4\n'
                    f'[config.judge]\nmodel = "reference"\napi_base = "{engine.url}"\napi_key = "{key}"\n'
                )
                done = await asyncio.to_thread(assay, tmp_path, "run", "scenario.toml", "--json")
                told = evaluator.log.read_bytes()

    assert {row["outcome"] for row in rows_of(done).values()} == {"scored"}
    files = [file for file in (tmp_path / "results").rglob("*") if file.is_file()]
    assert files
    assert [file.name for file in files if key.encode() in file.read_bytes()] == []
    assert key.encode() not in told + done.stdout.encode() + done.stderr.encode()
