"""The archive of a problem: configuration, cases, and what makes it unusable."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from services.green_agent.benchmarks.lcb_pro.archive import CaseFiles, problem_archive
from services.green_agent.data.errors import DataError
from services.green_agent.data.store import Store
from tests.green_agent.benchmarks.lcb_pro.files import archive, config


def cases(mirror: Path, problem_id: str = "1A") -> list[CaseFiles]:
    with problem_archive(Store(mirror=mirror), problem_id) as opened:
        return list(opened.cases)


def test_numbered_cases_have_the_limits_of_the_problem(tmp_path: Path) -> None:
    archive(tmp_path, "1A")

    with problem_archive(Store(mirror=tmp_path), "1A") as opened:
        first = opened.cases[0]

        assert first == CaseFiles(
            input="testdata/1.in", answer="testdata/1.ans", time_limit_s=0.3, memory_bytes=256 << 20
        )
        assert (len(opened.cases), opened.judge.interactive, opened.judge.headers) == (3, False, {})
        assert [opened.text(name) for name in (first.input, first.answer)] == ["1 2\n", "3\n"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1.0), ("1.5 s", 1.5), ("2500ms", 2.5), ("2", 2.0), (3, 3.0), (0.5, 0.5)]
)
def test_times_are_read(tmp_path: Path, text: object, seconds: float) -> None:
    archive(tmp_path, "1A", stated=config(time_limit=text))

    assert cases(tmp_path)[0].time_limit_s == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("256m", 256 << 20), ("1g", 1 << 30), ("512 MB", 512 << 20), ("64MiB", 64 << 20), (1 << 28, 1 << 28)],
)
def test_sizes_are_read(tmp_path: Path, text: object, size: int) -> None:
    archive(tmp_path, "1A", stated=config(memory_limit=text))

    assert cases(tmp_path)[0].memory_bytes == size


def test_subtasks_number_their_cases_through_and_may_name_them(tmp_path: Path) -> None:
    subtasks = [
        {"score": 30, "n_cases": 1},
        {"score": 30, "cases": [{"input": "big.in", "output": "big.out", "time": "5s"}], "memory": "1g"},
        {"score": 40, "n_cases": 2, "time_limit": "2s"},
    ]
    archive(
        tmp_path,
        "1A",
        stated=config(subtasks=subtasks),
        files={"testdata/big.in": "1 1\n", "testdata/big.ans": "2\n"},
    )

    found = [(case.input, case.answer, case.time_limit_s, case.memory_bytes >> 20) for case in cases(tmp_path)]

    assert found == [
        ("testdata/1.in", "testdata/1.ans", 0.3, 256),
        ("testdata/big.in", "testdata/big.ans", 5.0, 1024),
        ("testdata/2.in", "testdata/2.ans", 2.0, 256),
        ("testdata/3.in", "testdata/3.ans", 2.0, 256),
    ]


def test_answers_may_be_called_out_and_the_problem_may_lie_in_a_folder(tmp_path: Path) -> None:
    archive(tmp_path, "1A", folder="1A/", answers=".out")

    assert cases(tmp_path)[2].answer == "1A/testdata/3.out"


def test_an_interactive_problem_needs_no_answers(tmp_path: Path) -> None:
    archive(tmp_path, "1A", stated=config(type="interactive"), answers=".none")

    assert [case.answer for case in cases(tmp_path)] == ["", "", ""]


@pytest.mark.parametrize(
    ("stated", "fault"),
    [
        (config(type="communication"), "type: Input should be 'default' or 'interactive'"),
        (config(time_limit="soon"), "time_limit: .*expected a time such as 1s"),
        (config(memory_limit="much"), "memory_limit: .*expected a size such as 256m"),
        (config(memory_limit=256), "memory_limit: .*1048576"),
        (config(subtasks=[]), "subtasks: "),
        (config(subtasks=[{"score": 100}]), "a subtask with neither n_cases nor cases"),
        (config(subtasks=[{"score": 100, "n_cases": 4}]), "names 'testdata/4.in', which is not there"),
        (config(subtasks=[{"n_cases": 1, "cases": [{"input": "../../x", "output": "1.ans"}]}]), "which is not there"),
        (config(checker="other.cc"), "holds no 'other.cc'"),
        ("- 1", "config.yaml: "),
        ("a: [", "config.yaml is no YAML"),
        ("[" * 1_000, "config.yaml is no YAML"),
    ],
)
def test_an_archive_that_cannot_be_used_says_why(tmp_path: Path, stated: str, fault: str) -> None:
    archive(tmp_path, "1A", stated=stated)

    with pytest.raises(DataError, match=fault):
        cases(tmp_path)


def test_a_case_that_is_no_utf8_is_refused_and_not_changed(tmp_path: Path) -> None:
    archive(tmp_path, "1A")
    with zipfile.ZipFile(tmp_path / "lcb_pro_tests" / "1A.zip", "a") as opened:
        opened.writestr("testdata/latin.in", "\u00e9".encode("latin-1"))

    with (
        problem_archive(Store(mirror=tmp_path), "1A") as found,
        pytest.raises(DataError, match=r"latin\.in' is not UTF-8"),
    ):
        found.text("testdata/latin.in")


def test_a_checker_that_includes_testlib_gets_it_from_its_data_set(tmp_path: Path) -> None:
    archive(tmp_path, "1A", files={"chk.cc": '#include "testlib.h"\nint main() {}'})
    (tmp_path / "testlib").mkdir()
    (tmp_path / "testlib" / "testlib.h").write_text("// no testlib", encoding="utf-8")

    with pytest.raises(DataError, match=r"sha256 of testlib\.h is"):
        cases(tmp_path)


def test_absent_testlib_names_the_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    archive(tmp_path, "1A", files={"chk.cc": "#include <testlib.h>\nint main() {}"})

    with pytest.raises(DataError, match=r"`assay data pull testlib`"):
        cases(tmp_path)
