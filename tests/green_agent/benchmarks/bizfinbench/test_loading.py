"""BizFinBench.v2 from its files to tasks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.contract.seeds import rank
from services.green_agent.benchmarks.base import DatasetError, Setting
from services.green_agent.benchmarks.bizfinbench import BizFinBench, BizFinBenchConfig
from services.green_agent.benchmarks.bizfinbench.kinds import TASK_TYPES
from services.green_agent.data.store import Store
from services.green_agent.scoring.extract import Centre, Kind, LabelKey, NumberKey
from tests.green_agent.benchmarks.bizfinbench.files import benchmark, row, write

EVENTS = "en/event_logic_reasoning_en.jsonl"
SENTIMENT = "en/user_sentiment_analysis_en.jsonl"


def config(**keys: object) -> BizFinBenchConfig:
    return BizFinBenchConfig.model_validate({"type": "bizfinbench", **keys})


def everything(folder: Path, *, rows: int) -> Path:
    for task_type in TASK_TYPES.values():
        for language in task_type.languages:
            write(folder, task_type.member(language), [row(f"{number}.5") for number in range(rows)])
    return folder


def test_files_lie_where_the_data_set_publishes_them() -> None:
    assert {task_type.member("cn") for task_type in TASK_TYPES.values()} == {
        "cn/anomaly_information_tracing_cn.jsonl",
        "cn/conterfactual_cn.jsonl",
        "cn/event_logic_reasoning_cn.jsonl",
        "cn/financial_data_description_cn.jsonl",
        "cn/financial_multi-turn_perception_cn.jsonl",
        "cn/financial_quantitative_computation_cn.jsonl",
        "cn/financial_report_analysis.jsonl",
        "cn/stock_price_predict_cn.jsonl",
        "cn/user_sentiment_analysis_cn.jsonl",
    }


def test_all_asks_every_type_a_language_has(tmp_path: Path) -> None:
    everything(tmp_path, rows=1)

    counts = Counter(task.id.split("_")[-2] for task in benchmark(tmp_path, languages=["en", "zh"]).tasks())

    assert counts == {"en": 8, "cn": 9}


def test_the_limit_of_a_task_type_counts_in_each_language(tmp_path: Path) -> None:
    everything(tmp_path, rows=60)
    seven = [name for name in TASK_TYPES if name not in {"conterfactual", "financial_report_analysis"}]

    tasks = benchmark(tmp_path, task_types=seven, languages=["en", "cn"], limit_per_task=50).tasks()

    assert len(tasks) == 700
    assert tasks[0].id == "bizfinbench_anomaly_information_tracing_en_0"
    assert set(Counter(task.id.rsplit("_", 1)[0] for task in tasks).values()) == {50}


def test_heads_of_a_shuffled_entry_come_from_the_order_by_seed(tmp_path: Path) -> None:
    write(tmp_path, EVENTS, [row("2,1")] * 40)
    ids = [f"bizfinbench_event_logic_reasoning_en_{number}" for number in range(40)]

    tasks = benchmark(tmp_path, task_types=["event_logic_reasoning"], shuffle=True, limit_per_task=5).tasks()

    assert {task.id for task in tasks} == set(sorted(ids, key=lambda name: rank(7, "order", name))[:5])


def test_a_registered_copy_is_found_through_the_store(tmp_path: Path) -> None:
    write(tmp_path / "bizfinbench", EVENTS, [row("2,1")])
    setting = Setting(seed=1, store=Store(folders=(), mirror=tmp_path))
    loaded = BizFinBench(config(task_types=["event_logic_reasoning"]), setting)

    assert [task.expected for task in loaded.tasks()] == ["2,1"]
    assert loaded.notes()["sources"] == {EVENTS: f"mirror bizfinbench/{EVENTS}"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{not json", "not JSON"),
        ('{"messages": []}', "choices"),
        (row("2,1", ("assistant", "only me")), "expected a user turn with text"),
        (row("2,1", ("user", "  ")), "expected a user turn with text"),
        (row(""), "expected a reference"),
        ({"messages": [{"role": "user", "content": "hi"}], "choices": []}, "choices"),
        (
            {
                "messages": [{"role": "judge", "content": "hi"}],
                "choices": [{"message": {"role": "assistant", "content": "1"}}],
            },
            "role",
        ),
        (
            {
                "messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}],
                "choices": [{"message": {"role": "assistant", "content": "1"}}],
            },
            "messages.0.content",
        ),
    ],
)
def test_a_bad_row_is_an_error_with_file_and_line_or_skipped_and_counted(
    tmp_path: Path, line: dict[str, object] | str, fault: str
) -> None:
    write(tmp_path, EVENTS, [row("2,1"), "", line, row("1,2")])

    with pytest.raises(DatasetError, match=f"event_logic_reasoning_en.jsonl line 3: .*{fault}"):
        benchmark(tmp_path, task_types=["event_logic_reasoning"]).tasks()
    skipping = benchmark(tmp_path, task_types=["event_logic_reasoning"], skip_bad_rows=True)

    # The rows behind it keep their numbers.
    assert [task.id[-1] for task in skipping.tasks()] == ["0", "3"]
    assert f'{{"{EVENTS}": {{"count": 1' in json.dumps(skipping.notes()["skipped_rows"])


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, EVENTS, [row("2,1")])
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'{"messages": "\xff\xfe"}\n')

    with pytest.raises(DatasetError, match="not UTF-8"):
        benchmark(tmp_path, task_types=["event_logic_reasoning"], skip_bad_rows=True).tasks()


@pytest.mark.parametrize("lines", [[], ["", ""], ["{not json"]])
def test_a_file_without_a_usable_row_is_an_error(tmp_path: Path, lines: list[str]) -> None:
    write(tmp_path, EVENTS, lines)

    with pytest.raises(DatasetError, match="no row that can be used"):
        benchmark(tmp_path, task_types=["event_logic_reasoning"], skip_bad_rows=True).tasks()


def test_a_file_whose_rows_are_all_skipped_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, EVENTS, [row("")])

    with pytest.raises(DatasetError, match="holds no usable row, 1 were skipped"):
        benchmark(tmp_path, task_types=["event_logic_reasoning"], skip_bad_rows=True).tasks()


def test_tasks_say_what_a_limit_counts(tmp_path: Path) -> None:
    write(tmp_path, EVENTS, [row("2,1")])

    (task,) = benchmark(tmp_path, task_types=["event_logic_reasoning"]).tasks()

    assert (task.stratum, task.limit_group) == ("event_logic_reasoning", "event_logic_reasoning en")


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"has no file {EVENTS}"):
        benchmark(tmp_path, task_types=["event_logic_reasoning"]).tasks()


def test_a_type_asked_for_by_name_must_exist_in_a_language_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="financial_report_analysis exists in cn only"):
        benchmark(tmp_path, task_types=["financial_report_analysis"]).tasks()


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"task_types": ["event_logic_reasonin"]}, "did you mean 'event_logic_reasoning'"),
        ({"languages": ["fr"]}, "languages"),
        ({"languages": []}, "languages"),
        ({"tolerance": {"event_logic_reasoning": 0.1}}, "no task type with numbers"),
        ({"tolerance": {"conterfactual": 1.0}}, "less than 1"),
        ({"limit_per_task": 0}, "limit_per_task"),
        ({"answer_format": "json"}, "answer_format"),
        ({"limit_per_tasks": 3}, "limit_per_tasks"),
    ],
)
def test_unknown_and_impossible_keys_are_refused(keys: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        config(**keys)


def test_a_config_survives_the_round_trip_the_planner_makes() -> None:
    chosen = config(
        task_types=["counterfactual"], languages=["zh"], tolerance={"counterfactual": 0.02}, limit_per_task=3
    )

    assert BizFinBenchConfig.model_validate_json(chosen.model_dump_json()) == chosen
    assert (chosen.task_types, chosen.languages, chosen.tolerance) == (
        ("conterfactual",),
        ("cn",),
        {"conterfactual": 0.02},
    )


@pytest.mark.parametrize(
    ("task_type", "reference", "kind"),
    [
        ("event_logic_reasoning", "2,1,4,3", Kind.SEQUENCE),
        ("event_logic_reasoning", "they are all the same", Kind.TEXT),
        ("financial_quantitative_computation", 0.4123, Kind.NUMBER),
        ("conterfactual", "41.5977%", Kind.NUMBER),
        ("conterfactual", "Lack of relevant data, unable to find the answer", Kind.TEXT),
        ("conterfactual", {"Allegion": 2.9905, "Amcor": 4.3891}, Kind.TEXT),
        ("stock_price_predict", "101.5", Kind.NUMBER),
        ("user_sentiment_analysis", "62.5", Kind.NUMBER),
        ("user_sentiment_analysis", "positive", Kind.LABEL),
        ("user_sentiment_analysis", "The user is worried about the price and wants out. " * 3, Kind.TEXT),
        ("financial_data_description", "[1, 3]", Kind.ID_SET),
        ("financial_data_description", "[]", Kind.ID_SET),
        ("financial_data_description", "not an id list", Kind.TEXT),
        ("financial_multi_turn_perception", '[{"description_id": 1, "answer": [2]}]', Kind.MAP),
        ("financial_multi_turn_perception", "[1, 2]", Kind.ID_SET),
        ("financial_multi_turn_perception", "the second", Kind.TEXT),
        ("anomaly_information_tracing", "1,3,5", Kind.ID_SET),
        ("anomaly_information_tracing", "[2]", Kind.ID_SET),
        ("anomaly_information_tracing", "2 -> 1 -> 3", Kind.SEQUENCE),
        ("anomaly_information_tracing", "rumour", Kind.LABEL),
        ("anomaly_information_tracing", "A rumour moved it,\nthen the report did.", Kind.TEXT),
    ],
)
def test_a_reference_decides_the_kind_of_its_row(tmp_path: Path, task_type: str, reference: str, kind: Kind) -> None:
    write(tmp_path, TASK_TYPES[task_type].member("en"), [row(reference)])

    (task,) = benchmark(tmp_path, task_types=[task_type]).tasks()

    assert task.key.kind is kind


def test_a_report_is_always_a_text(tmp_path: Path) -> None:
    write(tmp_path, "cn/financial_report_analysis.jsonl", [row("1,2,3")])

    (task,) = benchmark(tmp_path, task_types=["financial_report_analysis"], languages=["cn"]).tasks()

    assert (task.key.kind, task.stratum) == (Kind.TEXT, "financial_report_analysis")


def test_labels_are_the_closed_set_of_the_file_even_where_few_rows_are_asked(tmp_path: Path) -> None:
    write(tmp_path, SENTIMENT, [row("Positive"), row("negative."), row("12.5"), row("Neutral")])

    (task,) = benchmark(tmp_path, task_types=["user_sentiment_analysis"], limit_per_task=1).tasks()

    assert task.key == LabelKey(label="positive", labels=("negative", "neutral", "positive"))


def test_too_many_different_words_are_no_closed_set(tmp_path: Path) -> None:
    write(tmp_path, SENTIMENT, [row(f"word{'x' * number}") for number in range(30)])

    kinds = {task.key.kind for task in benchmark(tmp_path, task_types=["user_sentiment_analysis"]).tasks()}

    assert kinds == {Kind.TEXT}


@pytest.mark.parametrize(
    ("task_type", "tolerance", "centre"),
    [
        ("financial_quantitative_computation", 0.01, Centre.REFERENCE),
        ("conterfactual", 0.01, Centre.REFERENCE),
        ("stock_price_predict", 0.01, Centre.PREDICTION),
        ("user_sentiment_analysis", 0.10, Centre.PREDICTION),
    ],
)
def test_numbers_have_the_tolerance_of_their_type_unless_the_suite_gives_one(
    tmp_path: Path, task_type: str, tolerance: float, centre: Centre
) -> None:
    write(tmp_path, TASK_TYPES[task_type].member("en"), [row("100")])

    (usual,) = benchmark(tmp_path, task_types=[task_type]).tasks()
    (strict,) = benchmark(tmp_path, task_types=[task_type], tolerance={task_type: 0.001}).tasks()

    assert isinstance(usual.key, NumberKey)
    assert isinstance(strict.key, NumberKey)
    assert (usual.key.tolerance, usual.key.centre, strict.key.tolerance) == (tolerance, centre, 0.001)
    assert usual.digest != strict.digest


@pytest.mark.parametrize(
    ("references", "need"), [(["2,1", "1,2"], "never"), (["2,1", "prose"], "some"), (["prose", "words"], "all")]
)
def test_rows_that_became_texts_are_listed_and_need_a_judge(tmp_path: Path, references: list[str], need: str) -> None:
    write(tmp_path, EVENTS, [row(reference) for reference in references])
    loaded = benchmark(tmp_path, task_types=["event_logic_reasoning"])

    loaded.tasks()

    texts = [number for number, reference in enumerate(references) if "," not in reference]
    assert loaded.judge_need() == need
    assert loaded.notes()["text_rows"] == len(texts)
    assert loaded.notes()["text_row_ids"] == [f"bizfinbench_event_logic_reasoning_en_{number}" for number in texts]
