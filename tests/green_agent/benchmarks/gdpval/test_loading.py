"""Rows, filters and files of GDPval become tasks, or an error that names the offender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.data.store import Store
from tests.green_agent.benchmarks.gdpval.library import REFERENCE, benchmark, publish, row
from tests.support.hub import serving_hub


def mirror(tmp_path: Path, *rows: object) -> Store:
    publish(tmp_path / "gdpval", rows or [row(number) for number in range(4)])  # type: ignore[arg-type] # rows of tests
    return Store(folders=(tmp_path,), mirror=tmp_path)


def test_every_row_becomes_a_task_in_published_order(tmp_path: Path) -> None:
    made = benchmark(mirror(tmp_path))

    tasks = made.tasks()

    assert [task.id for task in tasks] == ["gdpval_task-0", "gdpval_task-1", "gdpval_task-2", "gdpval_task-3"]
    assert [task.stratum for task in tasks] == ["Government", "Finance and Insurance"] * 2
    assert made.judge_need() == "all"
    assert made.notes() == {
        "source": "mirror gdpval/data/train-00000-of-00001.parquet",
        "rows": 4,
        "mode": "rubric",
        "reference_files": 2,
    }


def test_the_plan_shows_names_and_sizes_of_files_and_nothing_of_other_columns(tmp_path: Path) -> None:
    without, with_file = benchmark(mirror(tmp_path)).tasks()[:2]

    assert with_file.prompt.startswith("Write memo 1.\n\nAnswer with the finished deliverable itself")
    assert with_file.prompt.endswith("Reference files:\n1. Ledger 2026.csv (24 bytes)")
    assert "Reference files" not in without.prompt
    assert "never shown" not in with_file.prompt


def test_files_are_left_out_when_the_suite_says_so(tmp_path: Path) -> None:
    task = benchmark(mirror(tmp_path), include_reference_files=False).tasks()[1]

    assert task.references == ()
    assert "Ledger" not in task.prompt


def test_filters_keep_what_they_name_whatever_the_case(tmp_path: Path) -> None:
    store = mirror(tmp_path)

    assert [task.id for task in benchmark(store, sectors=["government"]).tasks()] == ["gdpval_task-0", "gdpval_task-2"]
    assert [task.id for task in benchmark(store, occupations=["Financial Managers"]).tasks()] == [
        "gdpval_task-1",
        "gdpval_task-3",
    ]


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"sectors": ["Goverment"]}, r"sectors: unknown 'Goverment'; did you mean 'Government'\?"),
        ({"occupations": ["Lawyer"]}, r"occupations: unknown 'Lawyer'; did you mean 'Lawyers'\?"),
        ({"sectors": ["Government"], "occupations": ["Financial Managers"]}, "no task is left"),
    ],
)
def test_an_unknown_filter_is_named_with_the_nearest(tmp_path: Path, config: dict[str, Any], fault: str) -> None:
    with pytest.raises(DatasetError, match=fault):
        benchmark(mirror(tmp_path), **config).tasks()


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (row(1, prompt=""), "row 1: prompt: String should have at least 1 character"),
        (row(1, prompt=None), "row 1: prompt: Input should be a valid string"),
        (row(1, task_id="../x"), "row 1: task_id: String should match pattern"),
        (row(1, reference_files=["reference_files/gone.pdf"]), r"task task-1: GDPval .*downloads are off"),
        (row(1, reference_files=["../../etc/passwd"]), r"task task-1: '\.\./\.\./etc/passwd' is no name of a file"),
    ],
)
def test_a_broken_row_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: dict[str, object], fault: str
) -> None:
    monkeypatch.setenv("ASSAY_OFFLINE", "1")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))

    with pytest.raises(DatasetError, match=fault):
        benchmark(mirror(tmp_path, broken)).tasks()


def test_a_task_id_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="task ids stand there twice: task-1"):
        benchmark(mirror(tmp_path, row(1), row(1))).tasks()


def test_only_the_files_of_tasks_within_the_limit_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = publish(tmp_path / "published", [row(number) for number in (0, 1, 3)])
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ASSAY_OFFLINE", raising=False)
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.publish("openai/gdpval", "a" * 40, files)
        store = Store(folders=(tmp_path,), mirror=None)

        assert len(benchmark(store, limit=1).tasks()) == 1
        before = [path for path in hub.downloads() if "reference_files" in path]
        made = benchmark(store, limit=2)
        tasks = made.tasks()

    assert before == []
    assert tasks[1].references[0].path.read_text() == "account,amount\ncash,120\n"
    assert made.notes()["source"] == f"hub openai/gdpval@{'a' * 40} data/train-00000-of-00001.parquet"


def test_the_limit_of_a_shuffled_entry_takes_heads_of_the_order_by_seed(tmp_path: Path) -> None:
    store = mirror(tmp_path)
    heads = {seed: benchmark(store, seed=seed, shuffle=True, limit=1).tasks()[0].id for seed in range(8)}

    assert len(set(heads.values())) > 1
    assert benchmark(store, seed=3, shuffle=True, limit=1).tasks()[0].id == heads[3]


def test_the_digest_changes_with_the_file_and_with_the_mode_and_with_nothing_else(tmp_path: Path) -> None:
    store = mirror(tmp_path, row(1, deliverable_text="Theirs."))
    first, again = benchmark(store).tasks()[0], benchmark(store, shuffle=True).tasks()[0]
    pairwise = benchmark(store, mode="pairwise").tasks()[0]
    (tmp_path / "gdpval" / REFERENCE).write_text("account,amount\ncash,121\n")

    assert first.digest == again.digest
    assert len({first.digest, pairwise.digest, benchmark(store).tasks()[0].digest}) == 3


def test_a_folder_of_ones_own_takes_the_place_of_the_source(tmp_path: Path) -> None:
    publish(tmp_path / "mine", [row(1)])
    store = Store(folders=(tmp_path,), mirror=None)
    made = benchmark(store, path="mine")

    assert made.tasks()[0].references[0].size == 24
    assert made.notes()["source"] == "path mine"


def test_pairwise_needs_a_deliverable_for_every_task(tmp_path: Path) -> None:
    store = mirror(tmp_path, row(0, deliverable_text=" "), row(1, deliverable_text="Theirs."))

    with pytest.raises(DatasetError, match=r"task task-0 has no deliverable to compare with, .* deliverables/task-0/"):
        benchmark(store, mode="pairwise").tasks()


def test_a_folder_of_deliverables_beside_the_suite_is_used(tmp_path: Path) -> None:
    (tmp_path / "deliverables" / "task-1").mkdir(parents=True)
    (tmp_path / "deliverables" / "task-1" / "memo.txt").write_text("Theirs.")
    deliverable = benchmark(mirror(tmp_path, row(1)), mode="pairwise").tasks()[0].deliverable

    assert deliverable is not None
    assert [file.name for file in deliverable.files] == ["memo.txt"]
