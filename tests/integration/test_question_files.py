"""The peer's two question files through the real green: right answers are worth 100, and the record tells what was found."""

import json
from pathlib import Path

from services.contract.outcomes import Outcome
from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.options import Options, OptionsConfig
from services.green_agent.benchmarks.synthetic import Synthetic, SyntheticConfig
from tests.support.greens import assess, green
from tests.support.peer_files import OPTIONS, SYNTHETIC, needs_peer_files
from tests.support.purples import purple, replay

SETTING = Setting(seed=42)

pytestmark = needs_peer_files


def suite(folder: Path) -> Path:
    path = folder / "files.yaml"
    path.write_text(
        f"name: files\ndatasets:\n  - {{type: synthetic, path: {SYNTHETIC}}}\n  - {{type: options, path: {OPTIONS}}}\n"
    )
    return path


def right_answers() -> dict[str, str]:
    synthetic = Synthetic(SyntheticConfig(type="synthetic", path=str(SYNTHETIC)), SETTING).tasks()
    options = Options(OptionsConfig(type="options", path=str(OPTIONS)), SETTING).tasks()
    asked = [(task.prompt, task.keys) for task in synthetic] + [(task.prompt, task.keys) for task in options]
    return {prompt: f"FINAL ANSWER: {json.dumps(dict(keys))}" for prompt, keys in asked}


async def test_right_answers_to_both_files_are_worth_100_on_the_plan_without_a_judge(tmp_path: Path) -> None:
    async with green(suite=suite(tmp_path)) as url, purple(replay(right_answers())) as agent:
        seen = await assess(url, agent.url)

    assert [row.task_id for row in seen.rows if row.score != 1.0] == []
    assert len(seen.rows) == 26
    overall = seen.result.overall_score
    assert (overall.score, overall.lower, overall.upper, overall.coverage) == (100.0, 100.0, 100.0, 1.0)
    section = seen.result.section_scores["options_trading"]
    assert section is not None
    assert section.sub_scores == {
        "pnl_accuracy": 100.0,
        "greeks_accuracy": 100.0,
        "strategy_quality": 100.0,
        "risk_management": 100.0,
    }


async def test_an_agent_that_repeats_the_question_gets_nothing_from_either_file(tmp_path: Path) -> None:
    echoes = {prompt: prompt for prompt in right_answers()}

    async with green(suite=suite(tmp_path)) as url, purple(replay(echoes)) as agent:
        seen = await assess(url, agent.url)

    assert {row.outcome for row in seen.rows} == {Outcome.SCORED}
    assert seen.result.overall_score.score is not None
    assert seen.result.overall_score.score <= 2.0
