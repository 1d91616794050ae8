"""A question is paid for once: over runs, over processes, and while it is in flight."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.contract.judgements import Judgement
from services.contract.outcomes import Failure
from services.green_agent.judge.cache import FILE_NAME, Kept, VerdictCache
from services.green_agent.judge.panel import JudgePanel, JudgeUnavailableError
from tests.green_agent.judge.bench import TRIAL, case, ids_in, met, opened, questions, served
from tests.support.engine import running_engine

CRITERIA = [f"criterion {n}" for n in range(1, 13)]


async def asked(panel: JudgePanel, answer: str = "42") -> tuple[tuple[bool, ...], list[Judgement]]:
    record: list[Judgement] = []
    verdict = await panel.for_trial(TRIAL, record).criteria(case(answer, references=("42",)), CRITERIA)
    return verdict.met, record


async def test_a_repeated_run_asks_no_question_and_gives_the_same_verdicts(tmp_path: Path) -> None:
    with running_engine() as engine:
        async with opened(engine.url, model="reference", folder=tmp_path) as panel:
            first, made = await asked(panel)
        before = engine.metrics.finished
        async with opened(engine.url, model="reference", folder=tmp_path) as panel:
            second, repeated = await asked(panel)
        after = engine.metrics.finished

    assert (before, after) == (3, 4)  # the probe and two batches; a second opening asks whether the judge is there
    assert first == second == (True,) * 12
    assert [one.cached for one in made] == [False, False]
    assert repeated == [one.model_copy(update={"cached": True}) for one in made]


async def test_a_verdict_after_repair_is_kept_with_the_question(tmp_path: Path) -> None:
    replies = ["no JSON"]

    def says(prompt: str) -> str:
        return replies.pop() if replies else met(of=ids_in(prompt))

    async with served(says) as server:
        for _ in range(2):
            async with opened(server.url, folder=tmp_path) as panel:
                _, record = await asked(panel)

        assert len(questions(server)) == 3
    assert [(made.form, made.cached) for made in record if made.purpose == "criteria 1-10"] in (
        [("repair", True)],
        [("full", True)],
    )


async def test_failures_are_not_kept(tmp_path: Path) -> None:
    replies = ["no JSON"] * 3

    def says(_: str) -> str:
        return replies.pop() if replies else '{"correct": true}'

    async with served(says) as server, opened(server.url, folder=tmp_path) as panel:
        with pytest.raises(Failure, match="not_json"):
            await panel.for_trial(TRIAL, []).correct(case())
        assert (await panel.for_trial(TRIAL, []).correct(case())).correct
        assert len(questions(server)) == 4


async def test_the_same_question_in_flight_is_asked_once(tmp_path: Path) -> None:
    with running_engine() as engine:
        async with opened(engine.url, model="reference", folder=tmp_path) as panel:
            found = await asyncio.gather(*(asked(panel) for _ in range(10)))
        calls = engine.metrics.finished

    assert calls == 3
    assert len({verdict for verdict, _ in found}) == 1
    assert sorted(one.cached for _, record in found for one in record) == [False] * 2 + [True] * 18


async def test_a_caller_that_gives_up_leaves_the_question_to_the_next(tmp_path: Path) -> None:
    arrived, silent = asyncio.Event(), [True]

    def says(prompt: str) -> str | None:
        arrived.set()
        return None if silent and silent.pop() else met(of=ids_in(prompt))

    short = CRITERIA[:2]
    async with served(says) as server, opened(server.url, folder=tmp_path, concurrency=1) as panel:
        first = asyncio.create_task(panel.for_trial(TRIAL, []).criteria(case(), short))
        await arrived.wait()
        second = asyncio.create_task(panel.for_trial(TRIAL, []).criteria(case(), short))
        first.cancel()

        assert (await second).met == (False, False)


async def test_another_answer_criterion_or_parameter_is_another_question(tmp_path: Path) -> None:
    with running_engine() as engine:
        async with opened(engine.url, model="reference", folder=tmp_path) as panel:
            await asked(panel)
            await asked(panel, "43")
        async with opened(engine.url, model="reference", folder=tmp_path, temperature=0.5) as panel:
            await asked(panel)
        calls = engine.metrics.finished

    assert calls == 2 + 3 * 2  # each opening asks once whether the judge is there


async def test_without_the_cache_every_question_is_asked() -> None:
    with running_engine() as engine:
        async with opened(engine.url, model="reference") as panel:
            await asked(panel)
            await asked(panel)
        calls = engine.metrics.finished

    assert calls == 5


async def test_the_original_cost_is_kept_and_an_unknown_one_is_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(lambda prompt: met(of=ids_in(prompt))) as server:
        async with opened(server.url, folder=tmp_path) as panel:
            _, unknown = await asked(panel)
        price = "{as_of: 2026-01-01, input_usd: 2.0, output_usd: 8.0}"
        row = f"{{provider: openai, base_url: '{server.url}', price: {price}, source: null}}"
        (tmp_path / "models.yaml").write_text(f"hosted: {{m0: {row}}}")
        monkeypatch.setenv("ASSAY_CONFIG_DIR", str(tmp_path))
        async with opened(server.url, folder=tmp_path) as panel:
            _, known = await asked(panel, "43")
            _, again = await asked(panel, "43")

    assert {made.cost_usd for made in unknown} == {None}
    assert [made.cost_usd for made in known] == [pytest.approx(0.0028)] * 2
    assert [made.cost_usd for made in again] == [made.cost_usd for made in known]
    assert all(made.cached for made in again)


WRITER = """
import asyncio, sys
from pathlib import Path
from services.green_agent.judge.cache import Kept, VerdictCache

async def main(folder, name):
    cache = await VerdictCache.open(Path(folder))
    for number in range(200):
        await cache.put(f"k{number}", Kept(values={"by": name}, reasons={}, injection_suspected=False, judgements=()))
        assert cache.get(f"k{number}") is not None
    await cache.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_share_one_cache_and_the_first_verdict_stays(tmp_path: Path) -> None:
    command: Sequence[str] = (sys.executable, "-c", WRITER, str(tmp_path))
    children = [await asyncio.create_subprocess_exec(*command, name) for name in ("a", "b", "c")]

    assert [await child.wait() for child in children] == [0, 0, 0]
    cache = await VerdictCache.open(tmp_path)
    assert cache is not None
    found = [cache.get(f"k{number}") for number in range(200)]
    await cache.put("k0", Kept(values={"by": "late"}, reasons={}, injection_suspected=False, judgements=()))
    kept = cache.get("k0")
    await cache.aclose()

    assert all(one is not None and one.values["by"] in {"a", "b", "c"} for one in found)
    assert kept == found[0]


async def test_a_broken_cache_is_left_alone_and_the_judge_works(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 100)
    with running_engine() as engine:
        async with opened(engine.url, model="reference", folder=tmp_path) as panel:
            verdict, _ = await asked(panel)
            told = panel.description()

    assert verdict == (True,) * 12
    assert told["cache"] is False
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"this is no database")


async def test_members_of_one_name_at_two_addresses_keep_verdicts_of_their_own(tmp_path: Path) -> None:
    async with (
        served(lambda prompt: met(*ids_in(prompt), of=ids_in(prompt))) as kind,
        served(lambda prompt: met(of=ids_in(prompt))) as strict,
    ):
        panel_of_two = [{"model": "m", "api_base": kind.url}, {"model": "m", "api_base": strict.url}]
        async with opened(kind.url, folder=tmp_path, panel=panel_of_two) as panel:
            first, made = await asked(panel)
            second, again = await asked(panel)

    assert first == second == (False,) * 12  # a tie
    assert {one.cached for one in made} == {False}
    assert [(one.member, one.verdicts["c12"]) for one in again if "c12" in one.verdicts] == [(0, True), (1, False)]


async def test_an_answer_that_differs_by_a_private_character_is_another_question(tmp_path: Path) -> None:
    def says(prompt: str) -> str:
        return met(*(() if "\ue000" in prompt else ids_in(prompt)), of=ids_in(prompt))

    async with served(says) as server, opened(server.url, folder=tmp_path) as panel:
        found = [(await asked(panel, answer))[0] for answer in ("yes", "y\ue000es")]

    assert found == [(True,) * 12, (False,) * 12]


async def test_what_is_kept_of_other_ids_is_asked_again(tmp_path: Path) -> None:
    async with served(lambda _: '{"correct": true}') as server, opened(server.url, folder=tmp_path) as panel:
        await panel.for_trial(TRIAL, []).correct(case())
        with sqlite3.connect(tmp_path / FILE_NAME) as database:
            database.execute("UPDATE verdicts SET body = replace(body, '\"correct\":true', '\"c01\":true')")
        again = await panel.for_trial(TRIAL, []).correct(case())
        asked_for = len(questions(server))

    assert again.correct
    assert asked_for == 2


async def test_a_remembered_judge_that_is_gone_is_an_error_at_opening(tmp_path: Path) -> None:
    async with served(lambda _: "") as server, opened(server.url, folder=tmp_path):
        pass

    with pytest.raises(JudgeUnavailableError, match="connection"):
        async with opened(server.url, folder=tmp_path):
            pass
