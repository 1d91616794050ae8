"""Shards added up: the numbers of the whole run, and every reason why files do not belong together."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.aggregation import aggregate
from services.contract.assessment import Plan, plan_digest
from services.contract.outcomes import Outcome
from services.contract.printing import Printed
from services.contract.results import AssessmentResult, Section, TaskResult
from services.runner.cli import main
from services.runner.submissions.merging import Merged, merge
from services.runner.submissions.shards import MergeError, read_shards
from tests.runner.support.shards import LONG, Document, document, rows_of, shard_of, whole_plan


def artifact(plan: Plan) -> Document:
    """The bare artifact of green for a shard."""
    result = aggregate(plan, rows_of(plan), metadata={"purple_agent": {"name": "Scripted purple", "version": "1"}})
    return json.loads(Printed().apply(result).model_dump_json())  # type: ignore[no-any-return] # JSON


def write(folder: Path, *documents: Document, name: str = "{}.json") -> list[Path]:
    paths = [folder / name.format(number) for number in range(len(documents))]
    for path, content in zip(paths, documents, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return paths


def merged(folder: Path, *documents: Document, partial: bool = False) -> Merged:
    return merge(read_shards(write(folder, *documents)), partial=partial)


def shards(count: int, **plan: Any) -> list[Document]:
    whole = whole_plan(**plan)
    return [document(shard_of(whole, index, count)) for index in range(count)]


def plan_of_one_section(*, tasks: int, trials: int) -> Plan:
    """Means of data sets, of which one could not be loaded, one gave no task, and all are of one section."""
    plan = whole_plan(tasks=tasks, trials=trials)
    there = [benchmark.model_copy(update={"section": Section.CODE}) for benchmark in plan.benchmarks]
    lost = there[0].model_copy(update={"name": "lost", "tasks": 0, "dataset_digest": "", "skipped": "no file"})
    empty = there[0].model_copy(update={"name": "empty", "section": Section.MATH, "tasks": 0})
    benchmarks = (*there, lost, empty)
    trials_there = tuple(replace(trial, section=Section.CODE) for trial in plan.trials)
    digest = plan_digest(seed=plan.seed, trials=trials_there, benchmarks=benchmarks)
    new = {"digest": digest, "trials": trials_there, "benchmarks": benchmarks, "section_mean": "datasets", "k": (1, 2)}
    return plan.model_copy(update=new | {"section_weights": {Section.CODE: 0.3}})


def numbers(result: Document) -> Document:
    """Everything but the metadata, which tells of the shards."""
    return {name: result[name] for name in AssessmentResult.model_fields if name != "evaluation_metadata"}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 8), st.integers(1, 3), st.integers(1, 20), st.data())
def test_merged_shards_are_the_whole_run_number_by_number(
    tasks: int, trials: int, count: int, data: st.DataObject
) -> None:
    plan = data.draw(st.sampled_from([whole_plan, plan_of_one_section]))(tasks=tasks, trials=trials)
    ends = st.sampled_from([*Outcome, None])
    drawn = data.draw(st.fixed_dictionaries({trial.key: ends for trial in plan.trials}))
    dealt = [shard_of(plan, index, count) for index in range(count)]
    parts = [document(part, rows_of(part, drawn)) for part in dealt]
    with tempfile.TemporaryDirectory() as folder:
        found = merged(Path(folder), *data.draw(st.permutations(parts)))

    whole = document(plan, rows_of(plan, drawn))["results"][0]
    (mine,) = json.loads(json.dumps(found.document))["results"]
    assert numbers(mine) == numbers(whole)
    facts = ("complete", "coverage", "outcomes", "num_successful", "plan", "plan_digest", "shard_index", "num_shards")
    assert all(mine["evaluation_metadata"][name] == whole["evaluation_metadata"][name] for name in facts)
    assert found.missing == ()


def test_rows_that_were_cut_stay_cut_once(tmp_path: Path) -> None:
    plan = whole_plan()

    found = merged(tmp_path, *(artifact(shard_of(plan, index, 2)) for index in (0, 1)))

    row = found.result.results[1]
    assert row.answer == LONG[:200] + " [...]"
    again = read_shards(write(tmp_path, found.document))
    assert merge(again).document["results"][0]["results"] == found.document["results"][0]["results"]  # type: ignore[index,call-overload] # JSON


def test_results_files_bare_artifacts_and_one_file_of_several_objects_can_be_mixed(tmp_path: Path) -> None:
    plan = whole_plan()
    first, second = (document(shard_of(plan, index, 4)) for index in (0, 1))
    together = {"status": "completed", "results": [*first["results"], *second["results"]]}

    found = merged(tmp_path, together, *(artifact(shard_of(plan, index, 4)) for index in (2, 3)))

    assert numbers(json.loads(found.result.model_dump_json())) == numbers(document(plan)["results"][0])
    told = found.result.evaluation_metadata["shards"]
    assert [shard["file"] for shard in told] == ["0.json results[0]", "0.json results[1]", "1.json", "2.json"]  # type: ignore[index,call-overload,union-attr] # JSON


def test_the_merged_result_names_its_shards_and_keeps_who_took_part(tmp_path: Path) -> None:
    found = merged(tmp_path, *shards(2))

    facts = found.result.evaluation_metadata
    assert found.document["participants"] == {"purple": "purple"}
    assert (facts["run_id"], facts["run_status"]) == (None, "complete")
    assert facts["purple_agent"] == {"name": "Scripted purple", "version": "1"}
    assert [shard["run_id"] for shard in facts["shards"]] == ["run-0", "run-1"]  # type: ignore[index,call-overload,union-attr] # JSON
    assert facts["shards_missing"] == []


@pytest.mark.parametrize("lost", [(2,), (0, 1), (0, 1, 3)])
def test_trials_of_missing_shards_are_planned_and_not_scored(tmp_path: Path, lost: tuple[int, ...]) -> None:
    plan = whole_plan(tasks=6, trials=2)
    there = [document(shard_of(plan, index, 4)) for index in range(4) if index not in lost]

    found = merged(tmp_path, *there, partial=True)

    whole = aggregate(plan, [row for one in there for row in _rows(one)], metadata={})
    result = found.result
    assert [(s.planned, s.counted, s.score) for s in result.sections] == [
        (s.planned, s.counted, s.score) for s in whole.sections
    ]
    assert [s.lower for s in result.sections] == pytest.approx([s.lower for s in whole.sections])
    assert [s.upper for s in result.sections] == pytest.approx([s.upper for s in whole.sections])
    assert result.overall_score.coverage == whole.overall_score.coverage
    assert result.evaluation_metadata["complete"] is False
    assert (found.missing, result.evaluation_metadata["shards_missing"]) == (lost, list(lost))
    assert "missing shard" not in json.dumps(result.evaluation_metadata["plan"])


def _rows(content: Document) -> list[TaskResult]:
    return [TaskResult.model_validate(row) for row in content["results"][0]["results"]]


def test_what_one_shard_warns_of_qualifies_the_whole(tmp_path: Path) -> None:
    first, second = shards(2)
    facts_of(first)["selected_on_scoring_tests"], facts_of(second)["selected_on_scoring_tests"] = False, True

    facts = merged(tmp_path, first, second).result.evaluation_metadata

    assert facts["selected_on_scoring_tests"] is True


def test_a_surplus_shard_that_is_missing_leaves_nothing_out(tmp_path: Path) -> None:
    there = shards(10, tasks=4)[:8]

    found = merged(tmp_path, *there, partial=True)

    assert found.missing == (8, 9)
    assert found.result.evaluation_metadata["complete"] is True


def test_a_partial_merge_is_no_shard(tmp_path: Path) -> None:
    found = merged(tmp_path, *shards(4)[:2], partial=True)

    with pytest.raises(MergeError, match="is a partial merge: merge the files of its shards"):
        merged(tmp_path, found.document)


def facts_of(content: Document) -> Document:
    return content["results"][0]["evaluation_metadata"]  # type: ignore[no-any-return] # JSON


def changed(name: str, value: object) -> Callable[[list[Document]], None]:
    """The second file with another value in its metadata, or in the plan there."""

    def change(found: list[Document]) -> None:
        table = facts_of(found[1])
        *folders, last = name.split(".")
        for folder in folders:
            table = table[folder]
        table[last] = value

    return change


def other_plan(found: list[Document]) -> None:
    found[1] = shards(4, seed=8)[1]


def twice(found: list[Document]) -> None:
    found[1] = found[0]


def other_count(found: list[Document]) -> None:
    found[1] = document(shard_of(whole_plan(), 1, 8))


def no_rows(found: list[Document]) -> None:
    facts_of(found[1])["results_streamed_only"] = True


def no_plan(found: list[Document]) -> None:
    del facts_of(found[1])["plan"]


def better_score(found: list[Document]) -> None:
    found[1]["results"][0]["results"][0]["score"] = 1.0


def passed_after_all(found: list[Document]) -> None:
    for row in found[1]["results"][0]["results"]:
        row["passed"] = True


def higher_bound(found: list[Document]) -> None:
    found[1]["results"][0]["sections"][0]["lower"] = 99.0


def newer_file(found: list[Document]) -> None:
    found[1]["results"][0]["schema_version"] = "3.0"


def strange_row(found: list[Document]) -> None:
    found[1]["results"][0]["results"][0]["task_id"] = "stranger"


def row_twice(found: list[Document]) -> None:
    found[1]["results"][0]["results"] *= 2


def fewer_trials(found: list[Document]) -> None:
    facts_of(found[1])["plan"]["trials"].pop()


def other_model(found: list[Document]) -> None:
    for row in found[1]["results"][0]["results"]:
        row["model"] = {"provider": "openai", "model": "m-2"}
    for row in found[0]["results"][0]["results"]:
        row["model"] = {"provider": "openai", "model": "m-1"}


def other_model_id(found: list[Document]) -> None:
    facts_of(found[0])["model_id"], facts_of(found[1])["model_id"] = "a", "b"


def other_judge(found: list[Document]) -> None:
    for content, model in zip(found, "jkjj", strict=True):
        facts_of(content)["judge_config"] = {"template": "t", "fallback": "none", "members": [{"model": model}]}


def other_image(found: list[Document]) -> None:
    facts_of(found[0])["provenance"]["image_digests"] = {}
    facts_of(found[1])["provenance"]["image_digests"] = {"purple": "r/p@sha256:2"}


def other_participants(found: list[Document]) -> None:
    found[1]["participants"] = {"purple": "somebody-else"}


def other_task(found: list[Document]) -> None:
    facts_of(found[1])["plan"]["trials"][0]["task_digest"] = "sha256:changed"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (other_plan, "1.json: plan sha256:"),
        (twice, "1.json: shard 0 is in .*0.json already"),
        (other_count, "1.json: plan.num_shards is 8"),
        (changed("effective_config.seed", {"value": 9, "source": "request"}), "1.json: config seed is 9"),
        (changed("plan.section_mean", "datasets"), "1.json: plan.section_mean is 'datasets'"),
        (changed("plan.digest", "sha256:0"), "1.json: plan_digest is "),
        (changed("plan.shard_index", 4), "1.json: shard 4 of 4 does not exist"),
        (changed("plan.shard_index", "many"), "1.json: broken: evaluation_metadata.plan.shard_index"),
        (other_model_id, "1.json: model_id 'b', .*0.json has 'a'"),
        (other_judge, "1.json: judge .*'model': 'k'.*, .*0.json has .*'model': 'j'"),
        (other_image, "1.json: image of purple is r/p@sha256:2, .*0.json has not recorded"),
        (changed("plan.num_trials", 0), "1.json: a plan of 8 tasks, 0 trials each, in 4 shards"),
        (changed("plan.num_shards", 10**12), "1.json: a plan of 8 tasks, 1 trials each, in 1000000000000 shards"),
        (changed("purple_agent", {"name": "Other", "version": "1"}), "1.json: agent 'Other 1', .*0.json has 'Scripted"),
        (no_rows, "1.json: holds no rows, they were streamed"),
        (no_plan, "1.json: written before results kept their plan"),
        (better_score, "1.json: overall_score.score is .*, its rows give"),
        (better_score, "1.json: 12 more numbers do not follow from its rows"),
        (passed_after_all, r"1.json: section_scores.code.accuracy is .*, its rows give"),
        (changed("outcomes.scored", 1), "1.json: outcomes.scored is 1, its rows give 2"),
        (higher_bound, r"1.json: sections\[0\].lower is 99.0, its rows give"),
        (newer_file, "1.json: schema_version 3.0 is newer than this `assay` reads"),
        (strange_row, "1.json: row '[a-z]+.stranger.0' is not in its plan"),
        (row_twice, "1.json: two rows for trial"),
        (fewer_trials, "1.json: its plan holds 1 trials, shard 1 of 4 has 2"),
        (other_model, "1.json: answered by openai/m-2, .*0.json by openai/m-1"),
        (other_participants, "1.json: participants {'purple': 'somebody-else'}"),
        (other_task, "the trials give plan sha256:.*: a file was changed"),
    ],
)
def test_files_that_do_not_belong_together_are_refused_by_name(
    tmp_path: Path, spoil: Callable[[list[Document]], None], reason: str
) -> None:
    found = shards(4)
    spoil(found)

    with pytest.raises(MergeError, match=reason):
        merged(tmp_path, *found)


def test_a_trial_in_two_shards_is_refused(tmp_path: Path) -> None:
    plan = whole_plan()
    third = shard_of(plan, 2, 4).model_copy(update={"shard_index": 1})

    with pytest.raises(MergeError, match=r"2.json: trial '.*' is in .*1.json already"):
        merged(tmp_path, *(document(part) for part in (shard_of(plan, 0, 4), third, shard_of(plan, 2, 4))))


@pytest.mark.parametrize("where", ["beside", "submissions"])
def test_image_digests_must_agree_with_provenance_files_and_with_each_other(tmp_path: Path, where: str) -> None:
    results, folder = tmp_path / "results", tmp_path / ("results" if where == "beside" else "submissions")
    paths = write(results, *shards(2))
    digests = [{"green-agent": f"r/g@sha256:{number}", "purple": "r/p@sha256:1"} for number in (1, 2)]
    write(folder, *({"image_digests": known} for known in digests), name="{}.provenance.json")

    with pytest.raises(MergeError, match=r"image of green is r/g@sha256:2, .*0.json has r/g@sha256:1"):
        merge(read_shards(paths))

    write(folder, *({"image_digests": digests[0]} for _ in digests), name="{}.provenance.json")
    facts = merge(read_shards(paths)).result.evaluation_metadata
    told = {"green": "r/g@sha256:1", "purple": "r/p@sha256:1"}
    assert facts["provenance"]["image_digests"] == told  # type: ignore[index,call-overload] # JSON


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object, got a list"),
        ('{"score": NaN}', "not JSON (NaN is no JSON number)"),
        ('{"score": 1e999}', "not JSON (1e999 is no JSON number)"),
        ('{"score": 1' + "0" * 19 + "}", "not JSON (1" + "0" * 19 + " is no JSON number)"),
        (r'{"status": "\ud800"}', "not JSON ('utf-8' codec can't encode"),
        ("{}", "no known form"),
        ('{"results": {}}', "no known form"),
        ('{"status": "failed", "results": []}', "holds no result (status 'failed')"),
        ('{"overall_score": {"score": 61.2}, "evaluation_metadata": {}}', "schema_version None is none of ours"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_broken_file_ends_the_command_with_code_1_and_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    good = write(tmp_path, *shards(2))
    broken = tmp_path / "broken.json"
    broken.write_text(text)

    arguments = ["merge", *map(str, (*good, broken, tmp_path / "absent.json")), "-o", str(tmp_path / "out.json")]
    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 1
    assert f"{broken}: {reason}" in done.stderr
    assert f"{tmp_path / 'absent.json'}: cannot be read" in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_the_command_prints_the_table_and_writes_the_file(tmp_path: Path) -> None:
    paths = write(tmp_path, *shards(4)[:3])

    done = CliRunner().invoke(main, ["merge", *map(str, paths), "-o", str(tmp_path / "out.json"), "--partial"])

    assert done.exit_code == 0, done.output
    assert "! Partial. Without shard 3: what it would hold counts as not scored." in done.stdout
    assert "options trading" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["status"] == "completed"


def test_a_shard_that_was_cancelled_makes_the_merged_status_canceled(tmp_path: Path) -> None:
    first, second = shards(2)
    first["status"] = "canceled"

    assert merged(tmp_path, first, second).document["status"] == "canceled"


def test_a_provenance_file_and_the_record_inside_name_green_in_different_words(tmp_path: Path) -> None:
    (content,) = shards(1)
    facts_of(content)["provenance"]["image_digests"] = {"green": "r/g@sha256:1"}
    paths = write(tmp_path, content)
    write(tmp_path, {"image_digests": {"green-agent": "r/g@sha256:2"}}, name="{}.provenance.json")

    with pytest.raises(MergeError, match=r"0.json: image of green is r/g@sha256:1, .* says r/g@sha256:2"):
        read_shards(paths)


def test_shards_without_any_row_have_failed_like_the_whole_run(tmp_path: Path) -> None:
    plan = whole_plan()

    found = merged(tmp_path, *(document(shard_of(plan, index, 2), []) for index in (0, 1)))

    assert found.document["status"] == document(plan, [])["status"] == "failed"


def test_many_missing_shards_are_told_in_one_short_line(tmp_path: Path) -> None:
    (first, *_) = shards(100)

    with pytest.raises(MergeError, match=r"shard 1, 2, .*, 20 and 79 more of 100 is missing; --partial merges"):
        merged(tmp_path, first)


def test_a_shard_is_not_overwritten_by_the_merged_result(tmp_path: Path) -> None:
    paths = write(tmp_path, *shards(2))

    done = CliRunner().invoke(main, ["merge", *map(str, paths), "-o", str(tmp_path / "." / "1.json")])

    assert done.exit_code == 2
    assert "is one of the files to merge" in done.stderr
    assert json.loads(paths[1].read_text())["results"][0]["evaluation_metadata"]["shard_index"] == 1


def test_sums_that_no_json_holds_are_an_error_with_the_files_name(tmp_path: Path) -> None:
    first, second = shards(2)
    for content in (first, second):
        facts_of(content)["duration_s"] = 1.7e308
    paths = write(tmp_path, first, second)

    done = CliRunner().invoke(main, ["merge", *map(str, paths), "-o", str(tmp_path / "out.json")])

    assert done.exit_code == 1
    assert f"cannot write {tmp_path / 'out.json'}: something in it is none of JSON" in done.stderr
