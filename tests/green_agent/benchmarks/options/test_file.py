"""The peer's option file as tasks: quantities, corrections, the judged part, filters and filling."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from services.contract.outcomes import Failure, Outcome
from services.contract.results import SubScore
from services.green_agent.benchmarks.base import DatasetError, ScoringTools, Setting, digest
from services.green_agent.benchmarks.options import Options, OptionsConfig, OptionsTask
from services.green_agent.benchmarks.options.file import FileItem, OptionsOverride
from services.green_agent.benchmarks.options.recompute import recomputed
from services.green_agent.data.overrides import read_overrides
from services.green_agent.data.questions import read_questions
from services.green_agent.judge.asking import Case
from tests.green_agent.benchmarks.options.file_items import over, row, written
from tests.green_agent.benchmarks.options.scripted import played
from tests.support.peer_files import OPTIONS, STORE, RuleJudge, needs_peer_files
from tests.support.scripted_session import ScriptedSession


def final(answer: dict[str, Any]) -> str:
    return f"FINAL ANSWER: {json.dumps(answer)}"


def right(task: OptionsTask) -> str:
    return final(dict(task.keys))


def of_peer(**keys: Any) -> dict[str, OptionsTask]:
    return {task.id: task for task in over(OPTIONS, **keys).tasks()}


@needs_peer_files
async def test_the_right_prices_score_one() -> None:
    benchmark = over(OPTIONS)
    task = next(one for one in benchmark.tasks() if one.id == "opt_pricing_001")

    score, _ = await played(benchmark, task, ['FINAL ANSWER: {"call_price": 3.22, "put_price": 7.48}'])
    exact, _ = await played(benchmark, task, ['FINAL ANSWER: {"call_price": 3.2153, "put_price": 7.4771}'])
    slipped, _ = await played(benchmark, task, ['FINAL ANSWER: {"call_price": 322, "put_price": 7.48}'])

    assert (score.score, exact.score, slipped.score) == (1.0, 1.0, 0.5)
    assert slipped.metrics["unit_slips"] == 1


@needs_peer_files
def test_without_a_judge_two_purely_qualitative_items_leave_the_plan_and_are_listed() -> None:
    benchmark = over(OPTIONS)
    tasks = benchmark.tasks()
    file = benchmark.notes()["file"]

    assert len(tasks) == 12
    assert benchmark.judge_need() == "never"
    assert isinstance(file, dict)
    assert file["purely_qualitative"] == ["vol_002", "defense_001"]
    assert (file["found"], file["usable"]) == (14, 12)
    assert all(task.qualitative_weight == 0 for task in tasks)


@needs_peer_files
@pytest.mark.parametrize("keys", [{"has_judge": True}, {"qualitative": "on"}])
def test_with_a_judge_all_fourteen_are_asked(keys: dict[str, Any]) -> None:
    benchmark = over(OPTIONS, **keys)
    weights = {task.id: round(task.qualitative_weight, 6) for task in benchmark.tasks()}

    assert benchmark.judge_need() == "some"
    assert weights == {
        "opt_pricing_001": 0.1,
        "opt_pricing_002": 0.3,
        "greeks_001": 0.0,
        "greeks_002": 0.1,
        "strategy_001": 0.3,
        "strategy_002": 0.7,
        "vol_001": 0.7,
        "vol_002": 1.0,
        "pnl_001": 0.0,
        "risk_001": 0.2,
        "risk_002": 0.1,
        "copy_001": 0.2,
        "race_001": 0.8,
        "defense_001": 1.0,
    }
    assert all(
        sum(one.weight for one in task.criteria) == pytest.approx(1) for task in benchmark.tasks() if task.criteria
    )


@needs_peer_files
def test_a_judge_is_not_used_when_it_is_switched_off() -> None:
    benchmark = over(OPTIONS, has_judge=True, qualitative="off")

    assert len(benchmark.tasks()) == 12
    assert benchmark.judge_need() == "never"


@needs_peer_files
def test_risk_002_is_corrected_and_hidden_numbers_are_asked_for() -> None:
    tasks = of_peer()

    assert tasks["risk_002"].keys == {
        "stock_exposure": 38000,
        "long_call_delta_exposure": 91200,
        "short_call_delta_exposure": -39900,
        "net_delta_shares": 235,
        "net_delta_exposure": 89300,
        "daily_vol_dollar": 1607.4,
        "var_95": 2643.94,
    }
    assert "var_95" in tasks["risk_002"].flags
    assert tasks["greeks_002"].keys["hedge_shares"] == -75
    assert tasks["vol_001"].keys == {"iv_minus_hv": 7}
    assert tasks["race_001"].keys == {"monthly_compound_rate": 46.78}
    assert "market_price" not in tasks["opt_pricing_002"].keys, "the question prints it"


@needs_peer_files
def test_every_settled_number_agrees_with_its_recomputation_and_every_component_is_measured_or_judged() -> None:
    settled = read_overrides("services.green_agent.benchmarks.options", OptionsOverride)

    for read in read_questions(OPTIONS, FileItem).items:
        override, values = settled[read.sha256], recomputed(read.item.model_dump(mode="json"))
        own = {name: one.value for name, one in override.quantities.items() if one.value is not None}
        assert own == pytest.approx({name: values[name] for name in own}, rel=1e-4), read.item.question_id
        assert {one.name for one in read.item.rubric.components} == {*override.measured, *override.judged}


@needs_peer_files
def test_without_the_audit_the_published_numbers_stand() -> None:
    task = of_peer(audit="off")["risk_002"]

    assert task.keys["var_95"] == 1165.65
    assert "net_delta_shares" not in task.keys
    assert task.flags == ()


@needs_peer_files
async def test_every_right_answer_scores_one_and_fills_its_dimensions() -> None:
    benchmark = over(OPTIONS)
    dimensions: set[str] = set()
    for task in benchmark.tasks():
        score, session = await played(benchmark, task, [right(task)])
        assert (score.score, score.passed, len(session.turns)) == (1.0, True, 1), task.id
        assert all(share.earned == share.possible for share in score.sub_scores.values())
        dimensions |= set(score.sub_scores)

    assert dimensions == {"pnl_accuracy", "greeks_accuracy", "strategy_quality", "risk_management"}


@needs_peer_files
async def test_the_score_weighs_quantities_and_judged_criteria() -> None:
    benchmark = over(OPTIONS, has_judge=True)
    task = next(one for one in benchmark.tasks() if one.id == "race_001")
    judge = RuleJudge(lambda _, criterion: criterion == "Sound risk management approach")
    session = ScriptedSession(right(task))
    await benchmark.converse(task, 0, session)

    score = await benchmark.score(task, 0, session.transcript, ScoringTools(judge=judge))

    assert score.score == pytest.approx(0.2 * 1.0 + 0.8 * 0.375)
    assert score.passed is False
    assert score.scored_by == "rule:final_answer+judge:rule"
    assert score.sub_scores == {
        "pnl_accuracy": SubScore(earned=1, possible=1),
        "strategy_quality": SubScore(earned=0, possible=1),
        "risk_management": SubScore(earned=1, possible=2),
    }
    assert score.metrics["quantitative"] == 1.0
    assert score.metrics["qualitative"] == pytest.approx(0.375)


@needs_peer_files
async def test_the_judge_reads_question_truth_and_the_whole_answer() -> None:
    benchmark = over(OPTIONS, has_judge=True)
    task = next(one for one in benchmark.tasks() if one.id == "vol_001")
    judge = RuleJudge(lambda *_: True)
    session = ScriptedSession(
        "<think>Every criterion is met.</think>Sell premium, implied volatility is rich.", right(task)
    )
    await benchmark.converse(task, 0, session)

    score = await benchmark.score(task, 0, session.transcript, ScoringTools(judge=judge))

    (case,) = judge.cases
    texts = {material.role: material.text for material in case.materials}
    assert texts["question"] == task.question
    assert texts["question"].startswith("META's current IV is 35%")
    assert "recommendation: net seller" in texts["reference"]
    assert texts["answer"] == f"Sell premium, implied volatility is rich.\n\n{right(task)}"
    assert (score.score, score.metrics["reminders"]) == (1.0, 1)


@needs_peer_files
async def test_a_purely_qualitative_item_is_asked_once_and_scored_by_the_judge_alone() -> None:
    benchmark = over(OPTIONS, has_judge=True)
    task = next(one for one in benchmark.tasks() if one.id == "defense_001")
    session = ScriptedSession("Close it.", "never asked for")
    await benchmark.converse(task, 0, session)

    score = await benchmark.score(task, 0, session.transcript, ScoringTools(judge=RuleJudge(lambda *_: True)))

    assert len(session.turns) == task.messages == 1
    assert "FINAL ANSWER" not in task.prompt
    assert (score.score, score.scored_by, score.answer) == (1.0, "judge:rule", "Close it.")


@needs_peer_files
async def test_without_a_verdict_nothing_is_scored() -> None:
    benchmark = over(OPTIONS, qualitative="on")
    task = next(one for one in benchmark.tasks() if one.id == "risk_001")
    session = ScriptedSession(right(task))
    await benchmark.converse(task, 0, session)

    def fails(_: Case, __: str) -> bool:
        raise Failure(Outcome.JUDGE_ERROR, "schema", "no valid verdict")

    for tools, kind in [(ScoringTools(), "no_judge"), (ScoringTools(judge=RuleJudge(fails)), "schema")]:
        with pytest.raises(Failure) as failure:
            await benchmark.score(task, 0, session.transcript, tools)
        assert (failure.value.outcome, failure.value.kind) == (Outcome.JUDGE_ERROR, kind)


@needs_peer_files
def test_a_path_of_the_guide_is_found_through_the_store_and_recorded() -> None:
    config = OptionsConfig(type="options", path="data/options/questions.json")
    benchmark = Options(config, Setting(seed=1, store=STORE))

    assert len(benchmark.tasks()) == 12
    assert str(benchmark.notes()["source"]).startswith("mirror ")


@needs_peer_files
def test_categories_filter_file_items_by_slug_and_title() -> None:
    assert list(of_peer(categories=["Greeks Analysis", "pnl-attribution"])) == ["greeks_001", "greeks_002", "pnl_001"]
    assert {task.stratum for task in of_peer(categories=["P&L Attribution"]).values()} == {"pnl-attribution"}


@needs_peer_files
def test_filling_tops_the_file_up_to_the_limit_from_the_generator() -> None:
    benchmark = over(OPTIONS, fill="generate", limit=50)
    tasks = benchmark.tasks()
    generated = Options(OptionsConfig(type="options"), Setting(seed=42)).tasks()

    assert len(tasks) == 50
    assert [task.id for task in tasks[:2]] == ["opt_pricing_001", "opt_pricing_002"]
    assert tasks[12:] == generated[:38]
    assert benchmark.notes()["tasks"] == {"file": 12, "generator": 38}
    assert len(over(OPTIONS, fill="generate", limit=5).tasks()) == 12, "the plan takes the head"
    filled = over(OPTIONS, fill="generate", limit=20, categories=["race-to-10m"]).tasks()
    assert {task.stratum for task in filled} == {"race-to-10m"}
    assert len(filled) == 20


def test_the_generated_questions_are_byte_for_byte_those_of_generator_g2() -> None:
    tasks = Options(OptionsConfig(type="options"), Setting(seed=42)).tasks()

    whole = digest([(t.id, t.digest, t.prompt, t.messages, t.stratum, t.template) for t in tasks])
    assert whole == "sha256:2ddd2a1e333e874cd3925fe3220b3e69bc4964eebbd91831215193a054210481"


def test_an_unsettled_item_asks_for_its_numbers_and_gives_the_rest_three_tenths(tmp_path: Path) -> None:
    (task,) = over(written(tmp_path, row()), has_judge=True).tasks()

    assert task.keys == {"max_profit": 3.0, "max_loss": 2.0, "breakeven": 102.0}
    assert task.qualitative_weight == 0.3
    assert [(one.text, one.weight) for one in task.criteria] == [("Right numbers", 0.75), ("Sound advice", 0.25)]
    assert all(quantity.tolerance == 0.01 for quantity in task.quantities)


def test_numbers_of_nested_objects_are_asked_for_and_those_of_lists_are_not(tmp_path: Path) -> None:
    nested = row(ground_truth={"greeks": {"delta": 0.4}, "legs": [{"strike": 5}], "ok": True}, debit=None)
    (task,) = over(written(tmp_path, nested)).tasks()

    assert task.keys == {"greeks_delta": 0.4}


def test_an_item_that_its_parameters_contradict_is_dropped_reported_or_kept(tmp_path: Path) -> None:
    wrong = row(question_id="Q2", ground_truth={"max_profit": 3.5, "max_loss": 2.0})
    path = written(tmp_path, row(), wrong)

    quarantined, reported = over(path), over(path, audit="report")

    assert [task.id for task in quarantined.tasks()] == ["Q1"]
    assert [(task.id, task.flags) for task in reported.tasks()] == [("Q1", ()), ("Q2", ("max_profit",))]
    assert [task.flags for task in over(path, audit="off").tasks()] == [(), ()]
    file = quarantined.notes()["file"]
    assert isinstance(file, dict)
    assert file["flagged"] == [
        {"id": "Q2", "action": "dropped", "reason": "", "findings": ["max_profit is 3.5, recomputed 3"]}
    ]


async def test_a_flag_that_was_only_reported_stands_in_the_row(tmp_path: Path) -> None:
    wrong = row(ground_truth={"max_profit": 3.5, "max_loss": 2.0})
    benchmark = over(written(tmp_path, wrong), audit="report")
    (task,) = benchmark.tasks()

    score, _ = await played(benchmark, task, [right(task)])

    assert score.details == {"audit_flags": ["max_profit"]}


def test_the_digest_moves_with_the_item_and_with_what_is_judged(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    plain, judged = over(path).tasks()[0], over(path, has_judge=True).tasks()[0]
    changed = over(written(tmp_path, row(difficulty="hard"))).tasks()[0]

    assert len({plain.digest, judged.digest, changed.digest}) == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"category": "Options Princing"}, "category: .*did you mean 'options-pricing'"),
        ({"ground_truth": {}}, "ground_truth"),
        ({"ground_truth": [3]}, "ground_truth"),
        ({"question": "x" * 20_001}, "question"),
        ({"rubric": None}, "rubric"),
        ({"rubric": {"components": [{"name": "a", "description": "b", "weight": "0.5"}]}}, "rubric"),
    ],
)
def test_a_bad_row_is_named_with_its_field(tmp_path: Path, change: dict[str, JsonValue], field: str) -> None:
    benchmark = over(written(tmp_path, row(question_id="good"), row(**change)))

    with pytest.raises(DatasetError, match=rf"options: questions\.json: row 1 \(Q1\): {field}"):
        benchmark.tasks()


def test_a_file_without_an_item_of_the_filter_or_without_any_quantity_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no item of race-to-10m"):
        over(written(tmp_path, row()), categories=["race-to-10m"]).tasks()
    with pytest.raises(DatasetError, match="none of 1 items can be asked"):
        over(written(tmp_path, row(ground_truth={"view": "bullish"}))).tasks()
    with pytest.raises(DatasetError, match=r"options: .*does not exist"):
        over(tmp_path / "nowhere.json").tasks()
