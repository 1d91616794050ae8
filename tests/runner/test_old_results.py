import json
from pathlib import Path

import pytest

from services.runner.failures import ReportError
from services.runner.old_results import OldResult, read_old_results

ROWS = [
    {"example_id": "o1", "dataset_type": "options", "score": 100.0, "is_correct": True},
    *({"example_id": f"o{n}", "dataset_type": "options", "error": "Error code: 402"} for n in range(2, 15)),
    *({"example_id": f"s{n}", "dataset_type": "synthetic", "error": "timeout"} for n in range(20)),
]
EVALUATION = {
    "overall_score": {"score": 100.0, "max_score": 100.0},
    "section_scores": {"options_trading": {"score": 100.0, "weight": 0.2}},
    "evaluation_metadata": {"num_tasks": "1"},
    "results": ROWS,
}


def read(tmp_path: Path, *documents: object) -> list[OldResult]:
    path = tmp_path / "old.json"
    path.write_text("\n".join(json.dumps(document) for document in documents))
    return read_old_results(path)


@pytest.mark.parametrize(
    ("form", "document"),
    [
        ("json-rpc", {"result": {"artifacts": [{"parts": [{"text": "done"}, {"root": {"data": EVALUATION}}]}]}}),
        ("json-rpc", {"result": {"task": {"artifacts": [{"parts": [{"text": json.dumps(EVALUATION)}]}]}}}),
        ("artifact", {"name": "evaluation_result", "parts": [{"kind": "data", "data": EVALUATION}]}),
        ("artifact", EVALUATION),
        ("leaderboard", {"participants": {"agent": "x"}, "results": [EVALUATION]}),
        (
            "green 1.0",
            {"schema_version": "1.0", "results": [{"overall_score": {"score": "100"}}], "detailed_results": ROWS},
        ),
    ],
)
def test_every_form_shows_the_stored_score_beside_ours(tmp_path: Path, form: str, document: object) -> None:
    (found,) = read(tmp_path, document)

    assert found.form == form
    assert found.stored == 100.0
    assert (len(found.rows), found.errors) == (34, 33)
    assert found.recomputed == pytest.approx(100 / 14 / 2)
    assert found.errors_excluded == 100.0


def test_the_guides_form_has_short_section_names_and_no_rows(tmp_path: Path) -> None:
    scores = {"overall_score": 61, "section_scores": {"knowledge": "70.5", "crypto": 51.0}, "dataset_scores": {}}

    (found,) = read(tmp_path, {"timestamp": "t", "config": {}, "results": scores})

    assert found.stored == 61.0
    assert found.stored_sections == {"knowledge_retrieval": 70.5, "crypto_trading": 51.0}
    assert (found.recomputed, found.errors_excluded) == (None, None)


def test_lines_of_entries_are_read_one_by_one(tmp_path: Path) -> None:
    lines = [{"run_id": str(n), "scenario_id": "s", "overall_score": n, "options_trading_score": n} for n in (3, 4)]

    found = read(tmp_path, *lines)

    assert [result.stored for result in found] == [3.0, 4.0]
    assert found[0].stored_sections == {"options_trading": 3.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no known form"),
        ("[1]", "not a JSON object"),
        ('{"overall_score": 1}\nrubbish', "old.json:2: not a JSON"),
    ],
)
def test_what_is_no_result_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)

    with pytest.raises(ReportError, match=message):
        read_old_results(path)


def test_an_error_beside_a_score_is_an_error(tmp_path: Path) -> None:
    rows = [{"dataset_type": "bizfinbench", "score": 1.0, "error": "http 500"}, {"dataset_type": "prbench", "score": 1}]

    (found,) = read(tmp_path, EVALUATION | {"results": rows})

    assert found.recomputed == 50.0


@pytest.mark.parametrize("score", ["NaN", "1" + 400 * "0", '"inf"', '"-"', "true"])
def test_a_score_that_is_no_number_is_no_score(tmp_path: Path, score: str) -> None:
    path = tmp_path / "old.json"
    rows = f'[{{"dataset_type": "synthetic", "score": {score}}}, {{"dataset_type": "synthetic", "score": 1}}]'
    path.write_text(f'{{"overall_score": {score}, "results": {rows}}}')

    (found,) = read_old_results(path)

    assert (found.stored, found.errors, found.recomputed) == (None, 1, 50.0)


def test_a_part_nested_without_end_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"name": "evaluation_result", "parts": [{"text": "[" * 200_000}]}))

    with pytest.raises(ReportError, match="no known form"):
        read_old_results(path)


def test_an_error_text_that_was_graded_as_an_answer_is_an_error(tmp_path: Path) -> None:
    rows = [
        {
            "dataset_type": "gdpval",
            "score": 0.5,
            "predicted": "Error during analysis: Error code: 402 - {'error': 'credits'}",
        },
        {"dataset_type": "gdpval", "score": 1.0, "predicted": "Error analysis: the standard error is 2.1"},
        {"dataset_type": "gdpval", "error": "timeout", "score": 0.0},
        {"dataset_type": "gdpval", "score": 0.0, "predicted": ""},
    ]

    (found,) = read(tmp_path, EVALUATION | {"results": rows})

    assert (found.errors, found.graded_errors, found.coverage) == (2, 1, 0.75)
    assert (found.recomputed, found.errors_excluded) == (25.0, 50.0)


def test_rows_that_hold_normalized_scores_only_are_read(tmp_path: Path) -> None:
    rows = [
        {"dataset_type": "options", "raw_score": 47.5, "normalized_score": 47.5},
        {"dataset_type": "options", "error": "x"},
    ]

    (found,) = read(tmp_path, {"overall_score": {"score": 47.5}, "detailed_results": rows})

    assert (found.errors_excluded, found.recomputed, found.coverage) == (47.5, 23.75, 0.5)


def test_who_is_examined_is_read_from_where_the_form_has_it(tmp_path: Path) -> None:
    def agent(document: object) -> tuple[str, str, int | None]:
        (found,) = read(tmp_path, document)
        return found.agent, found.model, found.tasks

    guide = {"config": {"llm_model": "m-1", "num_tasks": "20"}, "results": {"overall_score": 1}}
    bare = EVALUATION | {"evaluation_metadata": {"purple_agent": "http://p:1/", "num_tasks": 3}}

    assert agent({"participants": {"agent": "x"}, "results": [EVALUATION]}) == ("x", "", 1)
    assert agent({"participants": {"judge": "j", "purple_1": "x"}, "results": [EVALUATION]}) == ("x", "", 1)
    assert agent({"participants": {"a": "x", "b": "y"}, "results": [EVALUATION]}) == ("x, y", "", 1)
    assert agent(guide) == ("", "m-1", 20)
    assert agent(bare) == ("http://p:1/", "", 3)
