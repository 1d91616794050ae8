import re
from pathlib import Path
from typing import Any

import pytest

from services.contract.outcomes import Outcome
from services.contract.results import Section
from services.runner.failures import ScenarioError
from services.runner.leaderboard.database import Answer, results_of
from services.runner.leaderboard.grid import Value
from services.runner.leaderboard.queries import Query, shipped
from services.runner.leaderboard.reading import read_folders
from tests.runner.leaderboard.files import (
    BOTH,
    CODE,
    FINANCE,
    Told,
    document_of,
    old_result,
    old_row,
    plan_of,
    result_of,
    shard,
    write,
)

WEIGHTS = dict(zip((section for section, _ in FINANCE.values()), (0.2, 0.1, 0.1, 0.5, 0.1), strict=True))
TOLD: Told = {
    "crypto|crypto-0|0": 0.25,
    "options|options-1|0": Outcome.INFRA_ERROR,
    "gdpval|gdpval-2|0": Outcome.AGENT_ERROR,
    "humaneval|humaneval-1|0": 0.0,
    "humaneval|humaneval-1|1": Outcome.JUDGE_ERROR,
    "public_csv|public_csv-1|0": 0.1,
}


def ours(folder: Path) -> Path:
    """One file a case; the id says which."""
    finance, code, tiny = (
        plan_of(FINANCE, tasks=5, weights=WEIGHTS),
        plan_of(CODE, tasks=3, trials=2),
        plan_of(CODE, tasks=1),
    )
    both = plan_of(BOTH, tasks=3, section_mean="datasets")
    left_out = plan_of(BOTH, tasks=3, section_mean="datasets", skipped=("public_csv",))
    nothing = {trial.key: Outcome.INFRA_ERROR for trial in finance.trials}

    def shards(plan: Any, of: int, count: int | None = None) -> list[dict[str, Any]]:
        return [result_of(shard(plan, index, of), TOLD) for index in range(of if count is None else count)]

    return write(
        folder,
        whole=document_of(result_of(finance, TOLD), agent="whole"),
        in_shards=document_of(*shards(finance, 3), agent="in shards"),
        shard_lost=document_of(*shards(finance, 3, count=2), agent="shard lost"),
        code=document_of(result_of(code, TOLD), agent="code"),
        nothing=document_of(result_of(finance, nothing), agent="nothing"),
        missing=document_of(result_of(finance, missing=["crypto|crypto-1|0"]), agent="row missing"),
        surplus=document_of(*shards(tiny, 4), agent="surplus"),
        empty=document_of(result_of(shard(tiny, 3, 4)), agent="empty"),
        by_dataset=document_of(*shards(both, 2), agent="by data set"),
        left_out=document_of(result_of(left_out), agent="left out"),
    )


def old(folder: Path) -> Path:
    rows = [old_row(1, score=1.0), old_row(2, "options", error="timeout")]
    whole = old_result(
        61.84, rows, knowledge_retrieval=40.0, analytical_reasoning=50.0, options_trading=60.0, crypto_trading=70.0,
        professional_tasks=89.2,
    )  # fmt: skip
    write(folder, old_part=document_of(old_result(30.0, rows, options_trading=30.0), agent="old part"))
    return write(folder, old_whole=document_of(whole, agent="old whole"))


def answers(folder: Path, *, union_by_name: bool = False) -> dict[str, Answer]:
    with results_of(sorted(folder.glob("*.json")), union_by_name=union_by_name) as results:
        return {query.name: results.ask(query) for query in shipped()}


def by_id(found: Answer) -> dict[Value, dict[str, Value]]:
    return {row[0]: dict(zip(found.columns[1:], row[1:], strict=True)) for row in found.rows}


@pytest.fixture(scope="module", params=["ours", "mixed"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = ours(tmp_path_factory.mktemp("folder") / "results")
    return old(made) if request.param == "mixed" else made


@pytest.fixture(scope="module", params=[False, True], ids=["auto", "union_by_name"])
def found(request: pytest.FixtureRequest, folder: Path) -> dict[str, Answer]:
    return answers(folder, union_by_name=request.param)


OVERALL = {
    # score, lower, upper, coverage, counted, planned, complete
    "by data set": (83.9, 83.9, 83.9, 1.0, 12, 12, True),
    "code": (83.3, 83.3, 91.7, 0.9167, 11, 12, False),
    "empty": (None, 0.0, 100.0, 0.0, 0, 2, False),
    "in shards": (90.5, 88.5, 90.5, 0.96, 24, 25, False),
    "left out": (100.0, 83.3, 100.0, 1.0, 9, 9, False),
    "nothing": (None, 0.0, 100.0, 0.0, 0, 25, False),
    "row missing": (100.0, 90.0, 100.0, 0.96, 24, 25, False),
    "shard lost": (87.5, 54.5, 92.5, 0.64, 16, 25, False),
    "surplus": (100.0, 100.0, 100.0, 1.0, 2, 2, True),
    "whole": (90.5, 88.5, 90.5, 0.96, 24, 25, False),
}


def test_overall_says_what_was_asked_over_every_shard_and_what_it_leaves_open(found: dict[str, Answer]) -> None:
    rows = found["Overall"].rows

    assert {row[0]: row[1:8] for row in rows} == OVERALL
    lowest = [row[2] for row in rows]
    assert lowest == sorted(lowest, key=lambda lower: -float(lower or 0))


def test_the_ranking_says_the_same_of_every_file(tmp_path: Path) -> None:
    overall = {entry.id: entry.overall for entry in read_folders([ours(tmp_path)]).entries}

    assert {
        name: (
            None if told.score is None else round(told.score, 1), round(told.lower, 1), round(told.upper, 1),
            round(told.coverage, 4), told.counted, told.planned, told.complete,
        )
        for name, told in overall.items()
    } == OVERALL  # fmt: skip


def test_sections_add_up_over_shards(found: dict[str, Answer]) -> None:
    cells = {(row[0], row[1]): row[2:8] for row in found["Sections"].rows}

    assert cells["in shards", "options_trading"] == (100.0, 80.0, 100.0, 4, 5, 10.0)
    assert cells["in shards", "crypto_trading"] == cells["whole", "crypto_trading"] == (85.0, 85.0, 85.0, 5, 5, 50.0)
    assert cells["shard lost", "options_trading"] == (100.0, 40.0, 100.0, 2, 5, 10.0)
    assert cells["by data set", "knowledge_retrieval"] == (85.0, 85.0, 85.0, 6, 6, 33.3)
    assert cells["left out", "knowledge_retrieval"] == (100.0, 50.0, 100.0, 3, 3, 33.3)
    assert cells["nothing", "crypto_trading"] == (None, 0.0, 100.0, 0, 5, 50.0)
    assert not [key for key in cells if str(key[0]).startswith("old")]


def test_outcomes_account_for_every_planned_trial(found: dict[str, Answer]) -> None:
    cells = by_id(found["Outcomes"])

    assert list(cells["in shards"].values())[:9] == [25, 22, 23, 1, 1, 0, 0, 0, 0]
    assert list(cells["whole"].values())[:9] == [25, 22, 23, 1, 1, 0, 0, 0, 0]
    assert cells["shard lost"]["Missing"] == 8
    assert cells["row missing"]["Missing"] == 1
    assert cells["code"]["Judge errors"] == 1
    assert cells["nothing"]["Infrastructure errors"] == 25
    assert (cells["empty"]["Planned"], cells["empty"]["Missing"]) == (2, 2)


def test_cost_is_unknown_where_no_row_knows_it_and_tokens_add_up(found: dict[str, Answer]) -> None:
    cells = by_id(found["Cost and latency"])

    assert list(cells["in shards"].values())[:8] == [25, 3000, 1000, None, 0, 0.0, 0.5, 0.5]
    assert list(cells["empty"].values())[:4] == [0, None, None, None]


def test_the_queries_of_agentbusters_bind_and_tell_our_numbers(found: dict[str, Answer]) -> None:
    overall = by_id(found["Overall Performance"])
    sections = by_id(found["Section Breakdown"])
    gdpval = by_id(found["GDPVal Professional Tasks"])
    crypto = by_id(found["Crypto Trading Details"])

    assert overall["whole"] == {"Score": 90.5, "Tasks": 25, "Passed": 22}
    assert overall["nothing"] == {"Score": None, "Tasks": 25, "Passed": 0}
    assert sections["whole"] == {
        "Knowledge": 100.0,
        "Analysis": 100.0,
        "Options": 100.0,
        "Crypto": 85.0,
        "GDPVal": 80.0,
    }
    assert set(sections["code"].values()) == {None}
    assert gdpval["whole"] == {"Score": 80.0, "Completion": None, "Accuracy": None, "Format": None, "Prof.": None}
    assert crypto["whole"]["Score"] == 85.0
    assert "code" not in crypto
    if "old whole" in overall:
        assert overall["old whole"] == {"Score": 61.8, "Tasks": 2, "Passed": 1}
        assert gdpval["old whole"]["Accuracy"] == 89.2
        assert sections["old part"]["Options"] == 30.0


@pytest.mark.parametrize(
    "plan", [plan_of(CODE), plan_of({"options": FINANCE["options"]})], ids=["code only", "options only"]
)
def test_every_query_binds_over_a_single_file(tmp_path: Path, plan: Any) -> None:
    write(tmp_path, one=document_of(result_of(plan)))

    found = answers(tmp_path)

    assert [row[:4] for row in found["Overall"].rows] == [("agent-1", 100.0, 100.0, 100.0)]
    assert [row[:2] for row in found["Overall Performance"].rows] == [("agent-1", 100.0)]


def test_ours_bind_over_files_of_the_old_form_alone_and_say_nothing(tmp_path: Path) -> None:
    found = answers(old(tmp_path))

    for name in ("Overall", "Sections", "Outcomes", "Cost and latency"):
        assert found[name].rows == ()


def test_rows_that_were_streamed_only_change_nothing_but_cost(tmp_path: Path) -> None:
    bare = result_of(plan_of(CODE, tasks=3), TOLD, results_streamed_only=True) | {"results": []}
    found = answers(write(tmp_path, one=document_of(bare)))

    assert found["Overall"].rows[0][1:7] == (83.3, 83.3, 83.3, 1.0, 6, 6)
    assert by_id(found["Outcomes"])["agent-1"]["Missing"] == 0


@pytest.mark.parametrize("role", ["purple-1", "select", "Weigher_2", "table"])
def test_a_role_of_any_spelling_is_quoted_everywhere(tmp_path: Path, role: str) -> None:
    write(tmp_path, one=document_of(result_of(plan_of(CODE)), agent="it", role=role))

    with results_of([tmp_path / "one.json"]) as results:
        for query in shipped(role):
            assert f'participants."{role}" AS id' in query.query
            assert {row[0] for row in results.ask(query).rows} <= {"it"}


@pytest.mark.parametrize("role", ['x" AS id, (SELECT 1) --', "a b", "", "1st", "x" * 64, "purple_agent\n"])
def test_what_no_scenario_names_a_role_is_refused(role: str) -> None:
    with pytest.raises(ValueError, match="expected a letter"):
        shipped(role)


def test_the_first_four_are_one_line_each_and_name_the_role_once() -> None:
    for query in shipped()[:4]:
        assert re.fullmatch(r"SELECT participants\.purple_agent AS id, [^\n;]+ FROM results\)[^\n;]+ DESC", query.query)


def test_equal_weights_stand_in_where_a_plan_weighs_nothing(tmp_path: Path) -> None:
    plan = plan_of(CODE, weights={Section.CODE: 0.0, Section.MATH: 0.0})
    found = answers(write(tmp_path, one=document_of(result_of(plan, {"humaneval|humaneval-0|0": 0.0}))))

    assert found["Overall"].rows[0][1:4] == (75.0, 75.0, 75.0)


def test_a_task_whose_trials_did_not_all_count_weighs_like_any_other_in_shards(tmp_path: Path) -> None:
    plan = plan_of(CODE, trials=3)
    told: dict[str, float | Outcome] = {t.key: 0.0 for t in plan.trials if t.task_id == "humaneval-0"}
    told |= {"humaneval|humaneval-1|1": Outcome.INFRA_ERROR, "humaneval|humaneval-1|2": Outcome.INFRA_ERROR}
    shards = [result_of(shard(plan, index, 3), told) for index in range(3)]
    write(
        tmp_path, whole=document_of(result_of(plan, told), agent="whole"), shards=document_of(*shards, agent="shards")
    )

    found = by_id(answers(tmp_path)["Overall"])

    assert found["whole"] == found["shards"]
    assert found["whole"]["Score"] == 75.0


PAID = plan_of(CODE, tasks=2)
SQL = (
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM '{file}'",
    "COPY results TO '{file}.copy'",
    "COPY results TO '.tmp/copy'",
    "ATTACH '{file}.db' AS other",
    "SET enable_external_access = true",
    "INSTALL httpfs",
    "SELECT * FROM SQL",
)


def test_a_query_reaches_nothing_but_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tmp").mkdir()
    file = write(tmp_path, one=document_of(result_of(plan_of(CODE)))) / "one.json"

    with results_of([file]) as results:
        for sql in SQL:
            with pytest.raises(ScenarioError, match="query 'made up'"):
                results.ask(Query(name="made up", query=sql.format(file=file)))

    assert sorted(path.name for path in tmp_path.rglob("*")) == [".tmp", "one.json"]


def test_a_query_about_another_participant_is_told_who_takes_part(tmp_path: Path) -> None:
    write(tmp_path, one=document_of(result_of(plan_of(CODE)), role="solver"))

    with pytest.raises(ScenarioError, match="the participants are solver: see --role"):
        answers(tmp_path)


def test_a_name_with_a_wildcard_is_one_file(tmp_path: Path) -> None:
    for name in ("ab", "a*"):
        write(tmp_path, **{name: document_of(result_of(plan_of(CODE)), agent=name)})

    with results_of([tmp_path / "a*.json"]) as results:
        assert [row[0] for row in results.ask(shipped()[4]).rows] == ["a*"]


def test_more_small_files_than_buffers_fit_into_memory_are_one_table(tmp_path: Path) -> None:
    files = sorted(write(tmp_path, **{f"f{n}": document_of({"n": n}) for n in range(700)}).glob("*.json"))

    with results_of(files) as results:
        assert results.ask(Query(name="how many", query="SELECT count(*) FROM results")).rows == ((700,),)


def test_files_beyond_the_sample_of_duckdb_keep_their_numbers(tmp_path: Path) -> None:
    first = result_of(PAID, judge={"cost_usd": 0})
    last = result_of(PAID, {PAID.trials[0].key: 0.25}, judge={"cost_usd": 0.25})
    whole = document_of(
        old_result(1.0, [old_row(1, sub_scores={"pnl_accuracy": 1})], professional_tasks=1.0, crypto_trading=1.0)
    )
    write(tmp_path, **{f"old{number}": whole for number in range(40)})
    write(tmp_path, ours=document_of(first, agent="first"), z=document_of(last, agent="last"))

    with results_of(sorted(tmp_path.glob("*.json"))) as results:
        found = {query.name: results.ask(query) for query in shipped()[4:]}

    assert {row[0]: row[1] for row in found["Overall"].rows} == {"first": 100.0, "last": 81.3}
    assert by_id(found["Cost and latency"])["last"]["Judge USD"] == 0.25
