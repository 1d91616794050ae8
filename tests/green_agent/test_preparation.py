import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from services.contract.aggregation import aggregate
from services.contract.assessment import Plan, RequestError, parse_config
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.synthetic.templates import GENERATOR_VERSION
from services.green_agent.precedence import settle
from services.green_agent.preparation import PreparedPlan, prepare
from services.green_agent.suite import load_suite
from tests.support.rows import row

GREEN = Path(sys.executable).with_name("green-agent")
ENTRIES = (
    "{type: options, categories: [greeks-analysis], generator: {categories: [greeks-analysis], count: 20}, weight: 2}",
    "{type: options, limit: 12, weight: 0.5}",
    "{type: synthetic, shuffle: true, limit: 30}",
    "{type: crypto, on_missing: generate, max_steps: 5, generator: {count: 4, bars: 20}}",
)
JUDGED = "{type: public_csv, path: questions.csv}"
CSV = (
    "Question,Answer,Question Type,Expert time (mins),Rubric\n"
    "Why?,Because,Qualitative,5,\"[{'operator': 'correctness', 'criteria': 'says because'}]\"\n"
)


def prepared(
    folder: Path,
    *entries: str,
    keys: str = "",
    config: dict[str, object] | None = None,
    judge_fault: str | None = None,
    has_judge: bool = False,
) -> PreparedPlan:
    path = folder / "eval.yaml"
    path.write_text(f"name: t\ndatasets: [{', '.join(entries)}]\n{keys}\n")
    settled = settle(parse_config(config or {}), load_suite(path), variables={})
    return prepare(settled, judge_fault=judge_fault, has_judge=has_judge)


def plan(folder: Path, *entries: str, **given: Any) -> Plan:
    return prepared(folder, *entries, **given).plan


@pytest.mark.parametrize("strategy", ["stratified", "weighted", "random"])
@pytest.mark.parametrize("config", [{"num_tasks": 25}, {"options_limit": 9, "num_tasks": 25}])
def test_the_order_of_entries_changes_neither_selection_nor_digest(
    tmp_path: Path, strategy: str, config: dict[str, object]
) -> None:
    plans = [
        plan(tmp_path, *order, keys=f"sampling: {{strategy: {strategy}}}", config=config)
        for order in permutations(ENTRIES)
    ]

    assert len({found.digest for found in plans}) == 1
    assert len(plans[0].trials) == 25


def test_the_order_of_entries_is_the_order_of_a_sequential_plan(tmp_path: Path) -> None:
    keys = "sampling: {strategy: sequential}"

    there = plan(tmp_path, ENTRIES[2], ENTRIES[1], keys=keys, config={"num_tasks": 31})
    back = plan(tmp_path, ENTRIES[1], ENTRIES[2], keys=keys, config={"num_tasks": 13})

    assert [trial.benchmark for trial in there.trials] == ["synthetic"] * 30 + ["options"]
    assert [trial.benchmark for trial in back.trials] == ["options"] * 12 + ["synthetic"]
    assert there.digest != back.digest


def test_the_same_input_gives_the_same_plan_in_any_process(tmp_path: Path) -> None:
    here = plan(tmp_path, *ENTRIES)

    digests = [
        json.loads(
            subprocess.run(
                [GREEN, "tasks", "--json", "--eval-config", tmp_path / "eval.yaml"],
                env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )["digest"]
        for seed in ("1", "2")
    ]

    assert digests == [here.digest] * 2


def test_a_task_in_two_entries_is_asked_once_and_counted(tmp_path: Path) -> None:
    found = plan(tmp_path, "{type: options, limit: 9}", "{type: options, limit: 12}")

    assert len(found.trials) == len({trial.task_id for trial in found.trials}) == 12
    assert found.benchmarks[0].notes["tasks_in_two_entries"] == 9


def test_each_task_is_asked_by_the_entry_that_holds_it(tmp_path: Path) -> None:
    first = "{type: crypto, on_missing: generate, max_steps: 5, generator: {count: 2, bars: 20}}"
    second = "{type: crypto, on_missing: generate, max_steps: 9, scenarios: [crypto-g1-0003], generator: {count: 4, bars: 20}}"

    found = prepared(tmp_path, first, second)

    steps = {trial.task_id: found.benchmark(trial).config.max_steps for trial in found.plan.trials}
    assert steps == {"crypto-g1-0000": 5, "crypto-g1-0001": 5, "crypto-g1-0003": 9}


def test_what_was_found_while_loading_is_noted_and_no_part_of_the_digest(tmp_path: Path) -> None:
    found = plan(tmp_path, "{type: synthetic, limit: 3}")

    assert found.benchmarks[0].notes["synthetic"] == {
        "generated": {"version": GENERATOR_VERSION, "count": 90, "seed": "run"}
    }
    assert found.effective_config["datasets.synthetic"] == {
        "value": {"type": "synthetic", "limit": 3, "name": "synthetic"},
        "source": "suite",
    }


def test_paths_are_looked_up_beside_the_suite_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "questions.csv").write_text(CSV)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    found = plan(tmp_path, JUDGED, has_judge=True)

    assert [trial.benchmark for trial in found.trials] == ["public_csv"]
    assert "questions.csv" in str(found.benchmarks[0].notes)
    assert str(tmp_path) not in found.model_dump_json()


def test_a_missing_path_fails_at_planning_and_names_the_entry(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"datasets\.public_csv: .*questions\.csv"):
        prepared(tmp_path, JUDGED, has_judge=True)


def test_a_data_set_that_is_skipped_leaves_the_bounds_of_its_section_open(tmp_path: Path) -> None:
    found = plan(tmp_path, "{type: options, limit: 2}", JUDGED, keys="on_dataset_error: skip", has_judge=True)

    result = aggregate(found, [row(trial, score=1.0) for trial in found.trials], metadata={})

    knowledge = result.section_scores["knowledge_retrieval"]
    assert knowledge is not None
    assert (knowledge.score, knowledge.weight, knowledge.lower, knowledge.upper) == (None, 0.5, 0.0, 100.0)
    assert (result.overall_score.score, result.overall_score.lower, result.overall_score.upper) == (100.0, 50.0, 100.0)
    assert result.evaluation_metadata["complete"] is False
    assert "public_csv could not be loaded and is skipped" in str(result.shortfalls)


def test_section_weights_must_leave_something_to_weigh(tmp_path: Path) -> None:
    keys = "section_weights: {crypto_trading: 1, options_trading: 0}"

    with pytest.raises(RequestError, match="no section of the plan weighs anything; it has options_trading"):
        plan(tmp_path, "{type: options, limit: 3}", keys=keys)


def test_a_larger_random_plan_contains_the_smaller_one_also_where_tasks_are_made(tmp_path: Path) -> None:
    def ids(total: int) -> set[str]:
        found = plan(
            tmp_path,
            "{type: options}",
            "{type: synthetic}",
            keys="sampling: {strategy: random}",
            config={"num_tasks": total},
        )
        return {trial.task_id for trial in found.trials}

    assert ids(95) <= ids(100) <= ids(130) <= ids(150)


def test_entries_whose_generators_give_the_same_ids_to_other_tasks_fall_short_aloud(tmp_path: Path) -> None:
    entries = ["{type: options, limit: 9, generator: {seed: 3}}", "{type: options, limit: 9, generator: {seed: 4}}"]

    found = plan(tmp_path, *entries)

    assert len(found.trials) + sum(s.requested - s.available for s in found.shortfalls) == 18
    with pytest.raises(RequestError, match="have the ids of other tasks"):
        plan(tmp_path, *entries, keys="sampling: {strict_counts: true}")


def test_nothing_but_skipped_data_sets_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="could not be loaded and is skipped"):
        prepared(tmp_path, JUDGED, keys="on_dataset_error: skip", has_judge=True)


def test_a_data_set_that_only_a_judge_can_score_is_not_asked_without_one(tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text(CSV)

    with pytest.raises(RequestError, match=r"datasets\.public_csv: only a judge can score it, and there is none"):
        prepared(tmp_path, JUDGED)
    allowed = plan(tmp_path, JUDGED, keys="allow_unscored: true")

    assert [(found.name, found.judge_need) for found in allowed.benchmarks] == [("public_csv", "all")]


def test_a_judge_that_cannot_be_used_is_an_error_with_its_reason(tmp_path: Path) -> None:
    keys = "llm_eval: {enabled: true, model: m}"

    with pytest.raises(RequestError, match="the judge is enabled and cannot be used: no key anywhere"):
        prepared(tmp_path, "{type: options, limit: 2}", keys=keys, judge_fault="no key anywhere")


def test_strict_counts_refuse_what_is_short(tmp_path: Path) -> None:
    entry = "{type: crypto, on_missing: generate, limit: 9, generator: {count: 4}, scenarios: [crypto-g1-0001]}"

    assert [(s.stratum, s.requested, s.available) for s in plan(tmp_path, entry).shortfalls] == [("crypto", 9, 1)]
    with pytest.raises(RequestError, match="strict_counts: crypto: asked for 9 tasks, there are 1"):
        prepared(tmp_path, entry, keys="sampling: {strict_counts: true}")


def test_a_stratum_asked_for_by_name_and_empty_is_an_error_even_where_data_sets_may_be_skipped(tmp_path: Path) -> None:
    entry = "{type: options, categories: [greeks-analysis, race-to-10m], generator: {categories: [greeks-analysis], count: 4}}"

    with pytest.raises(RequestError, match="asked for by name and empty: options / race-to-10m"):
        prepared(tmp_path, entry, keys="on_dataset_error: skip")
