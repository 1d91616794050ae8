import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.contract.outcomes import Outcome
from services.contract.results import Section
from services.runner.failures import ScenarioError
from services.runner.leaderboard.board import Board, Table, build_board
from services.runner.leaderboard.entries import Entry, OldEntry
from services.runner.leaderboard.reading import Found, read_folders
from services.runner.leaderboard.shown import title_of
from services.runner.submissions.merging import merge
from services.runner.submissions.shards import read_shards
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


def read(folder: Path, **documents: object) -> Found:
    return read_folders([write(folder, **documents)])


def board(found: Found, *, sort_by: str = "Overall", top: int | None = None) -> Board:
    return build_board(found, sort_by=sort_by, top=top)


def order(table: Table) -> list[tuple[int | None, str]]:
    return [(placed.rank, placed.entry.id) for placed in table.entries]


def reasons(found: Found) -> list[str]:
    return [skipped.reason for skipped in found.skipped]


PLAN = plan_of(CODE, tasks=5)
KEYS = [trial.key for trial in PLAN.trials]


def ended(count: int, end: float | Outcome, *, rest: float = 0.8) -> Told:
    """The first `count` trials end so, the others with `rest`."""
    return dict.fromkeys(KEYS, rest) | dict.fromkeys(KEYS[:count], end)


def test_who_claims_faults_on_hard_tasks_stands_below_who_failed_them(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        honest=document_of(result_of(PLAN, ended(2, 0.1)), agent="honest"),
        claims=document_of(result_of(PLAN, ended(2, Outcome.INFRA_ERROR)), agent="claims"),
        unscored=document_of(result_of(PLAN, ended(10, Outcome.JUDGE_ERROR)), agent="unscored"),
        better=document_of(result_of(PLAN, ended(0, 0.0, rest=0.9)), agent="better"),
    )

    (table,) = board(found).tables

    assert order(table) == [(1, "better"), (2, "honest"), (3, "claims"), (None, "unscored")]
    claims, unscored = table.entries[2].entry, table.entries[3].entry
    assert claims.overall.score == pytest.approx(80.0)
    assert claims.overall.placed_by == pytest.approx(64.0)
    assert claims.marks == ("incomplete",)
    assert (unscored.overall.score, unscored.overall.lower, unscored.overall.upper) == (None, 0.0, 100.0)


def test_equal_scores_share_a_rank(tmp_path: Path) -> None:
    same = {name: document_of(result_of(PLAN, run_id=name), agent=name) for name in ("a", "b")}

    (table,) = board(read(tmp_path, **same, c=document_of(result_of(PLAN, ended(1, 0.0)), agent="c"))).tables

    assert order(table) == [(1, "a"), (1, "b"), (3, "c")]


def test_other_plans_weights_and_selection_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    weighed = plan_of(CODE, tasks=5, weights={Section.CODE: 0.9, Section.MATH: 0.1})
    found = read(
        tmp_path,
        a=document_of(result_of(PLAN), agent="a"),
        b=document_of(result_of(PLAN, ended(1, 0.0)), agent="b"),
        seed=document_of(result_of(plan_of(CODE, tasks=5, seed=8)), agent="seed"),
        weights=document_of(result_of(weighed), agent="weights"),
        mean=document_of(result_of(plan_of(CODE, tasks=5, section_mean="datasets")), agent="mean"),
        selected=document_of(result_of(PLAN, selected_on_scoring_tests=True), agent="selected"),
    )

    tables = [sorted(name for _, name in order(table)) for table in board(found).tables]

    assert tables[0] == ["a", "b"]
    assert sorted(tables[1:]) == [["mean"], ["seed"], ["selected"], ["weights"]]


def test_old_scores_are_ranked_among_themselves_with_errors_at_0(tmp_path: Path) -> None:
    good = [old_row(number, score=0.6) for number in range(4)]
    errors = [old_row(1, score=1.0), *(old_row(n, score=0.9, predicted="Error code: 402 - no credit") for n in (2, 3))]
    dropped = [old_row(1, score=1.0), old_row(2, error="timeout", score=0.0)]
    found = read(
        tmp_path,
        ours=document_of(result_of(PLAN), agent="ours"),
        good=document_of(old_result(60.0, good), agent="good"),
        graded=document_of(old_result(93.3, errors), agent="graded"),
        dropped=document_of(old_result(100.0, dropped), agent="dropped"),
        rowless={"config": {"llm_model": "m", "num_tasks": 20}, "results": {"overall_score": 99.0}},
    )

    shown = board(found)

    assert [order(table) for table in shown.tables] == [[(1, "ours")]]
    assert shown.old is not None
    told = [
        (
            placed.rank,
            placed.entry.result.agent,
            placed.entry.result.stored,
            placed.entry.placed_by,
            placed.entry.result.coverage,
        )
        for placed in shown.old.entries
    ]
    assert told == [
        (1, "good", 60.0, pytest.approx(60.0), 1.0),
        (2, "dropped", 100.0, pytest.approx(50.0), 0.5),
        (3, "graded", 93.3, pytest.approx(100 / 3), 1.0),
        (None, "", 99.0, None, None),
    ]
    assert [placed.entry.marks for placed in shown.old.entries] == [
        (), ("1 error left out of the score",), ("2 errors graded as answers",), ("coverage unknown: no rows",),
    ]  # fmt: skip
    assert (shown.old.entries[3].entry.result.model, shown.old.entries[3].entry.result.tasks) == ("m", 20)


def test_the_same_run_counts_once_as_its_most_complete_file_tells_it(tmp_path: Path) -> None:
    half = result_of(PLAN, ended(1, Outcome.CANCELLED), run_id="r")
    old = document_of(old_result(1.0, [old_row(1, score=1)]))
    found = read(
        tmp_path, a=document_of(half), b=document_of(result_of(PLAN, run_id="r")), c=document_of(result_of(PLAN, run_id="r")),
        d=old, e=old,
    )  # fmt: skip

    shown = board(found)

    assert [placed.entry.file for placed in shown.tables[0].entries] == ["b.json"]
    assert sorted(shown.notes) == [
        "a.json: the same run as b.json, counted once",
        "c.json: the same run as b.json, counted once",
        "e.json: the same as d.json, counted once",
    ]


def test_two_stories_of_one_run_are_both_shown_and_said(tmp_path: Path) -> None:
    found = read(
        tmp_path, a=document_of(result_of(PLAN, run_id="r")), b=document_of(result_of(PLAN, ended(1, 0.0), run_id="r"))
    )

    shown = board(found)

    assert len(shown.tables[0].entries) == 2
    assert shown.notes == ("a.json, b.json: the same run with different numbers; both are shown, at most one is right",)


@pytest.mark.parametrize(
    ("column", "names"), [("model", ["a", "b", "c"]), ("CODE", ["b", "c", "a"]), ("Math", ["c", "a", "b"])]
)
def test_rows_can_be_ordered_by_another_column_and_keep_their_rank(
    tmp_path: Path, column: str, names: list[str]
) -> None:
    scores = {"a": (0.1, 0.5), "b": (0.9, 0.4), "c": (0.5, 0.6)}
    plan = plan_of(CODE, tasks=1)
    documents = {
        name: document_of(
            result_of(plan, {"humaneval|humaneval-0|0": code, "imobench|imobench-0|0": math}, model_id=name)
        )
        for name, (code, math) in scores.items()
    }

    (table,) = board(read(tmp_path, **documents), sort_by=column).tables

    assert [placed.entry.model for placed in table.entries] == names
    assert {placed.entry.model: placed.rank for placed in table.entries} == {"b": 1, "c": 2, "a": 3}


def test_a_column_there_is_not_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"--sort-by 'Speed': no such column; known: Overall, "):
        board(read(tmp_path, a=document_of(result_of(PLAN))), sort_by="Speed")


def test_what_is_beyond_the_top_is_counted(tmp_path: Path) -> None:
    documents = {f"f{n}": document_of(result_of(PLAN, run_id=str(n))) for n in range(3)}

    (table,) = board(read(tmp_path, **documents), top=2).tables

    assert (len(table.entries), table.left_off) == (2, 1)


def artifact(result: object) -> dict[str, object]:
    return {
        "name": "evaluation_result",
        "parts": [{"kind": "text", "text": json.dumps(result)}, {"text": "Assay result: x"}],
    }


@pytest.mark.parametrize("form", ["document", "bare", "artifact", "json-rpc"])
def test_ours_is_found_in_every_wrapping(tmp_path: Path, form: str) -> None:
    result = result_of(PLAN, model_id="m")
    wrapped = {
        "document": document_of(result), "bare": result, "artifact": artifact(result),
        "json-rpc": {"jsonrpc": "2.0", "result": {"artifacts": [artifact(result)]}},
    }  # fmt: skip

    found = read(tmp_path, one=wrapped[form])

    assert [(entry.model, entry.overall.score) for entry in found.entries] == [("m", 100.0)]
    assert found.old == []


def test_shards_of_one_file_are_one_entry_and_a_lost_shard_stays_visible(tmp_path: Path) -> None:
    def shards(count: int) -> dict[str, Any]:
        return document_of(*(result_of(shard(PLAN, index, 3), ended(1, 0.3)) for index in range(count)))

    found = read(
        tmp_path,
        all=shards(3),
        lost=shards(2),
        surplus=document_of(*(result_of(shard(PLAN, n, 12)) for n in range(12))),
    )
    whole, lost, surplus = found.entries

    assert whole.overall.score == pytest.approx(75.0)
    assert (whole.overall.counted, whole.overall.planned, whole.marks) == (10, 10, ())
    assert (lost.overall.counted, lost.overall.planned, lost.marks) == (7, 10, ("incomplete", "2 of 3 shards"))
    assert lost.overall.upper - lost.overall.lower == pytest.approx(30.0)
    assert lost.outcomes == {"missing": 3, "scored": 7}
    assert (surplus.overall.score, surplus.overall.complete) == (100.0, True)


def test_shards_of_one_file_are_shown_as_assay_merge_makes_them(tmp_path: Path) -> None:
    plan = plan_of(BOTH, tasks=4, trials=2, weights={Section.CODE: 0.7, Section.KNOWLEDGE_RETRIEVAL: 0.2})
    told = {trial.key: number % 7 / 6 for number, trial in enumerate(plan.trials)}
    parts = [result_of(shard(plan, index, 3), told, run_id=f"run-{index}") for index in (2, 0, 1)]
    together = document_of(*parts)
    (path,) = write(tmp_path / "shards", together=together).iterdir()
    whole = merge(read_shards([path]))

    found = read(tmp_path, merged=whole.document)

    shards, merged = sorted(found.entries, key=lambda entry: entry.file, reverse=True)
    told_overall, unsharded = shards.overall, result_of(plan, told)["overall_score"]
    assert {name: getattr(told_overall, name) for name in ("score", "lower", "interval_low", "interval_high")} == {
        name: unsharded[name] for name in ("score", "lower", "interval_low", "interval_high")
    }
    assert unsharded["interval_low"] < unsharded["interval_high"]
    assert (shards.overall, shards.sections) == (merged.overall, merged.sections)
    assert board(found).notes == ("shards/together.json: the same run as merged.json, counted once",)


def test_a_partial_merge_stands_at_its_lower_bound_and_names_what_it_lacks(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "s", two=document_of(*(result_of(shard(PLAN, n, 3)) for n in (0, 2)))).iterdir()
    partial = merge(read_shards([path]), partial=True).document
    better = json.loads(json.dumps(partial))
    better["results"][0]["overall_score"]["lower"] = 100.0

    found = read(tmp_path / "board", partial=partial, better=better)

    (entry,) = found.entries
    assert entry.overall.lower == pytest.approx(70.0)
    assert (entry.overall.counted, entry.overall.planned) == (7, 10)
    assert entry.marks == ("incomplete", "2 of 3 shards")
    assert reasons(found) == ["contradicts itself: overall_score.lower is 100.0, its rows give 70.0"]


def test_a_plan_that_calls_its_data_sets_otherwise_stands_apart(tmp_path: Path) -> None:
    plan = plan_of(BOTH)
    moved = {"section": Section.MATH}
    trials = tuple(replace(t, **moved) if t.benchmark == "public_csv" else t for t in plan.trials)  # type: ignore[arg-type]
    benchmarks = tuple(b.model_copy(update=moved) if b.name == "public_csv" else b for b in plan.benchmarks)
    other = plan.model_copy(update={"trials": trials, "benchmarks": benchmarks})

    shown = board(read(tmp_path, a=document_of(result_of(plan)), b=document_of(result_of(other))))

    assert len(shown.tables) == 2
    assert shown.notes == (
        "a.json | b.json: the same plan with other data sets, tasks or trials; they stand in tables of their own",
    )


def test_who_copies_the_id_of_a_run_does_not_take_it_off_the_board(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        copied=document_of(result_of(PLAN, ended(10, 0.0), run_id="r"), agent="thief"),
        mine=document_of(result_of(PLAN, ended(1, Outcome.INFRA_ERROR), run_id="r"), agent="owner"),
    )

    shown = board(found)

    assert order(shown.tables[0]) == [(1, "owner"), (2, "thief")]
    assert shown.notes == (
        "copied.json, mine.json: the same run of different participants (owner, thief); all are shown",
    )


def test_the_title_is_what_most_files_call_the_suite(tmp_path: Path) -> None:
    named = [PLAN.model_copy(update={"suite": name}) for name in ("finance", "finance", "Official \u202eboard")]
    found = read(tmp_path, **{f"f{n}": document_of(result_of(plan, run_id=str(n))) for n, plan in enumerate(named)})

    assert title_of(board(found).tables[0]).startswith("finance: 10 tasks, seed 7")


def test_files_that_are_no_results_are_named_with_the_reason_and_companions_are_not(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    write(deep, good=document_of(result_of(plan_of(FINANCE))))
    write(tmp_path / ".hidden", other=document_of(result_of(PLAN)))
    (deep / "empty.json").write_text("")
    (deep / "cut.json").write_text('{"participants": {"a":')
    (deep / "list.json").write_text("[1, 2]")
    (deep / "latin.json").write_bytes(b'{"a": "\xe9"}')
    (deep / "nested.json").write_text("[" * 100_000)
    (deep / "other.json").write_text('{"a": 1}')
    (deep / "form.json").write_text('{"results": 1}')
    (deep / "folder.json").mkdir()
    (deep / "gone.json").symlink_to("nowhere")
    (deep / "good.provenance.json").write_text("{}")
    (deep / "leaderboard.json").write_text("[]")

    found = read_folders([tmp_path, tmp_path / "a"])

    assert [Path(entry.file).name for entry in found.entries] == ["good.json"]
    told = {Path(skipped.file).name: skipped.reason.split(" (")[0].split(":")[0] for skipped in found.skipped}
    assert told == {
        "empty.json": "empty", "cut.json": "not a JSON object", "latin.json": "cannot be read",
        "nested.json": "not a JSON object", "form.json": "no known form of results",
        "folder.json": "not a file", "gone.json": "not a file",
    }  # fmt: skip
    assert [Path(name).name for name in found.no_results] == ["list.json", "other.json"]


def test_a_file_that_is_named_is_told_of_even_when_it_is_no_result(tmp_path: Path) -> None:
    other = write(tmp_path, other={"a": 1}) / "other.json"

    assert [(one.file, one.reason[:16]) for one in read_folders([other]).skipped] == [
        ("other.json", "no known form of")
    ]


def test_paths_are_told_from_the_folder_that_all_share(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "runs", one=document_of(result_of(PLAN, run_id=name)))

    found = read_folders([tmp_path / "a", tmp_path / "b" / "runs"])

    assert [entry.file for entry in found.entries] == ["a/runs/one.json", "b/runs/one.json"]


def marks_of(entries: list[Entry] | list[OldEntry]) -> list[tuple[str, ...]]:
    return [entry.marks for entry in entries]


@pytest.mark.parametrize(
    ("facts", "mark"),
    [
        (
            {"models": [{"model": "reference", "fingerprint": "reference-engine-1"}]},
            "reference engine, no language model",
        ),
        ({"provenance": {"reference_engine": True}}, "reference engine, no language model"),
        ({"sandbox": {"backend": "none", "isolated": False}}, "unsafe sandbox"),
    ],
)
def test_what_qualifies_a_number_stands_beside_it(tmp_path: Path, facts: dict[str, Any], mark: str) -> None:
    found = read(tmp_path, one=document_of(result_of(PLAN, **facts)))

    assert marks_of(found.entries) == [(mark,)]


def test_the_model_is_what_the_run_was_told_else_what_answered_else_the_agent(tmp_path: Path) -> None:
    models = [{"model": "m-2"}, {"model": "m-1"}, {"model": "m-1"}]
    found = read(
        tmp_path,
        a=document_of(result_of(PLAN, model_id="told", models=models)),
        b=document_of(result_of(PLAN, models=models)),
        c=document_of(result_of(PLAN)),
        d=document_of(result_of(PLAN, purple_agent=None), agent="id-1"),
    )

    assert [entry.model for entry in found.entries] == ["told", "m-1, m-2", "Scripted purple", "id-1"]


def test_a_table_names_its_judges(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        a=document_of(result_of(PLAN, judge={"models": ["j1"]})),
        b=document_of(result_of(PLAN, judge={"models": ["j2", "j1"]})),
    )

    assert board(found).tables[0].judges == ("j1", "j2")
