"""bizfinbench, prbench and public_csv from suite to result, through the real green."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from services.contract.assessment import parse_config
from services.contract.outcomes import Outcome
from services.green_agent.benchmarks.bizfinbench.kinds import TASK_TYPES
from services.green_agent.precedence import settle
from services.green_agent.preparation import PreparedPlan, prepare
from services.green_agent.suite import load_suite
from tests.green_agent.benchmarks.bizfinbench.files import row, write
from tests.support.greens import assess, green
from tests.support.purples import purple, replay

GUIDE = """
name: guide
datasets:
  - type: bizfinbench
    task_types: [{types}]
    languages: [en, cn]
    limit_per_task: 50
    shuffle: {shuffle}
  - {{type: prbench, splits: [finance, legal], limit: 200, shuffle: {shuffle}}}
"""


def published(folder: Path) -> Path:
    """A mirror with a few rows of every file, in the published layout."""
    for task_type in TASK_TYPES.values():
        for language in task_type.languages:
            write(folder / "bizfinbench", task_type.member(language), [row(f"{number}.5") for number in range(60)])
    for split in ("finance", "legal"):
        rubric = [{"id": "c", "title": "t", "annotations": {"weight_class": "important", "important_weight": 5}}]
        rows = [{"task": f"t{number}", "turns": 1, "prompt_0": "?", "rubric": rubric} for number in range(210)]
        write(folder / "prbench", f"data/{split}.jsonl", list(rows))
    return folder


def prepared(folder: Path, text: str, **config: object) -> PreparedPlan:
    suite = folder / "suite.yaml"
    suite.write_text(text)
    settled = settle(parse_config(dict(config)), load_suite(suite), variables={})
    return prepare(settled, has_judge=True)


@pytest.mark.parametrize("shuffle", ["false", "true"])
def test_the_guides_entries_fill_the_pools_the_specification_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffle: str
) -> None:
    monkeypatch.setenv("ASSAY_DATA_FROM", str(published(tmp_path)))
    seven = ", ".join(name for name in TASK_TYPES if name not in {"conterfactual", "financial_report_analysis"})

    plan = prepared(tmp_path, GUIDE.format(types=seven, shuffle=shuffle)).plan

    strata = Counter((trial.benchmark, trial.stratum) for trial in plan.trials)
    assert Counter(trial.benchmark for trial in plan.trials) == {"bizfinbench": 700, "prbench": 400}
    assert set(strata.values()) == {100, 200}
    assert plan.shortfalls == ()


def test_a_limit_of_the_request_counts_all_splits_and_task_types_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DATA_FROM", str(published(tmp_path)))
    text = GUIDE.format(types="event_logic_reasoning, stock_price_predict", shuffle="false")

    plan = prepared(tmp_path, text, bizfinbench_limit=150, prbench_limit=20).plan

    assert Counter(trial.benchmark for trial in plan.trials) == {"bizfinbench": 150, "prbench": 20}


ANSWERS = {
    "What is 5 + 1?": "FINAL ANSWER: 6",
    "In which order?": "first 1,2,3 then 3,1,2",
    "Which are wrong?": "[1, 2]",
    "What do you think?": "Prose.",
    "Why?": "says because",
}


async def test_an_assessment_without_a_judge_scores_what_has_a_rule_and_leaves_the_rest_open(tmp_path: Path) -> None:
    write(
        tmp_path,
        "en/financial_quantitative_computation_en.jsonl",
        [row(6, ("user", "What is 5 + 1?")), row("n/a", ("user", "What do you think?"))],
    )
    write(tmp_path, "en/event_logic_reasoning_en.jsonl", [row("3,1,2", ("user", "In which order?"))])
    write(tmp_path, "en/financial_data_description_en.jsonl", [row("[1, 3]", ("user", "Which are wrong?"))])
    rubric = json.dumps([{"operator": "correctness", "criteria": "says because"}]).replace('"', "'")
    (tmp_path / "public.csv").write_text(f'Question,Answer,Rubric\nWhy?,Because,"{rubric}"\n')
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        f"name: knowledge\nallow_unscored: true\ndatasets:\n  - type: bizfinbench\n    path: {tmp_path}\n"
        "    task_types: [financial_quantitative_computation, event_logic_reasoning, financial_data_description]\n"
        "  - {type: public_csv, path: public.csv}\n"
    )

    async with green(suite=suite) as url, purple(replay(ANSWERS)) as agent:
        seen = await assess(url, agent.url)

    rows = {found.question: (found.outcome, found.score) for found in seen.rows}
    assert rows == {
        "What is 5 + 1?": (Outcome.SCORED, 1.0),
        "In which order?": (Outcome.SCORED, 1.0),
        "Which are wrong?": (Outcome.SCORED, 0.0),
        "What do you think?": (Outcome.JUDGE_ERROR, None),
        "Why?": (Outcome.JUDGE_ERROR, None),
    }
    section = seen.result.section_scores["knowledge_retrieval"]
    assert section is not None
    assert section.score == pytest.approx(200 / 3)
    assert (section.lower, section.upper, section.coverage) == (40.0, 80.0, 0.6)
