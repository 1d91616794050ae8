"""The rows of AnswerBench: digests, the one repair, and what is refused."""

from pathlib import Path

import pytest

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.imobench.answers import answer_tasks, task_of
from services.green_agent.benchmarks.imobench.rows import CATEGORIES, AnswerRow, answer_rows, repaired_rows
from services.green_agent.data.errors import DataError
from services.green_agent.data.store import Store
from tests.green_agent.benchmarks.imobench.shared_data import FILES, HEADER, needs_answers, written
from tests.support.peer_files import STORE

SHIFTED = (
    ",".join(HEADER)
    + '\nimo-bench-algebra-036,"Find all functions $Y$.\n\\[ a,$b$ \\]\n,"$Y(x)=A$",Algebra,Functional Equation,Iran 2002\n'
)
PLAIN = ("imo-bench-algebra-001", "Find $n$.", "3", "Algebra", "Operation", "IMO Shortlist 2021")


@needs_answers
def test_version_2_holds_a_hundred_problems_a_category_and_has_the_published_digest() -> None:
    rows = answer_rows(FILES / "answerbench_v2.csv", version=2)

    assert len(rows) == 400
    assert {category: sum(row.category == category for row in rows) for category in CATEGORIES} == dict.fromkeys(
        CATEGORIES, 100
    )


@needs_answers
def test_the_shifted_row_is_repaired_by_rule_and_the_agent_never_sees_its_answer() -> None:
    [row] = [row for row in answer_rows(FILES / "answerbench_v2.csv", version=2) if row.id.endswith("algebra-036")]

    assert (row.answer, row.category, row.subcategory, row.source) == (
        r"$Y(x)=A+\frac{B}{x}-x$",
        "Algebra",
        "Functional Equation",
        "Iran 2002",
    )
    assert "A+" not in row.problem
    assert "A+" not in task_of(row).prompt
    assert row.problem.endswith(r"\]")


@needs_answers
def test_version_1_has_that_row_right() -> None:
    rows = {row.id: row for row in answer_rows(FILES / "answerbench.csv", version=1)}

    assert rows["imo-bench-algebra-036"].answer.strip() == r"$Y(x)=A+\frac{B}{x}-x$"


@needs_answers
def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    published = (FILES / "answerbench_v2.csv").read_bytes()
    (tmp_path / "imobench").mkdir()
    (tmp_path / "imobench" / "answerbench_v2.csv").write_bytes(published.replace(b"1012", b"1013", 1))

    with pytest.raises(DatasetError, match=r"sha256 of answerbench_v2\.csv"):
        answer_tasks(Store(mirror=tmp_path), version=2)
    with pytest.raises(DataError, match="sha256 of the rows"):
        answer_rows(tmp_path / "imobench" / "answerbench_v2.csv", version=2)


@needs_answers
def test_the_tasks_say_where_they_came_from() -> None:
    located, tasks = answer_tasks(STORE, version=2)

    assert located.origin == "mirror imobench/answerbench_v2.csv"
    assert len({task.digest for task in tasks}) == 400
    assert [task.issues for task in tasks if task.issues] == [("shifted_columns",)]


def test_the_repair_splits_the_problem_at_its_last_comma_before_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(SHIFTED, newline="")

    [row] = repaired_rows(path)

    assert row.model_dump() == {
        "id": "imo-bench-algebra-036",
        "problem": "Find all functions $Y$.\n\\[ a,$b$ \\]",
        "answer": "$Y(x)=A$",
        "category": "Algebra",
        "subcategory": "Functional Equation",
        "source": "Iran 2002",
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (SHIFTED.replace("algebra-036", "algebra-037"), r"row 1 \(imo-bench-algebra-037\): Category"),
        (SHIFTED.replace(',"$Y', ',"Y'), r"row 1 \(imo-bench-algebra-036\): (Category|Short Answer)"),
        (SHIFTED.replace("Short Answer", "Answer"), "Short Answer: Field required"),
    ],
)
def test_any_other_shifted_row_refuses_the_file(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(text.replace("a,$b$", "ab"), newline="")

    with pytest.raises(DataError, match=fault):
        list(repaired_rows(path))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (("algebra-1", *PLAIN[1:]), "Problem ID"),
        ((PLAIN[0], " ", *PLAIN[2:]), "Problem"),
        ((*PLAIN[:2], "", *PLAIN[3:]), "Short Answer"),
        ((*PLAIN[:3], "Logic", *PLAIN[4:]), "Category"),
    ],
)
def test_a_row_that_is_not_of_the_schema_is_refused(tmp_path: Path, row: tuple[str, ...], fault: str) -> None:
    with pytest.raises(DataError, match=rf"row 1 .*{fault}"):
        list(repaired_rows(written(tmp_path, [row])))


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2: imo-bench-algebra-001 stands twice"):
        list(repaired_rows(written(tmp_path, [PLAIN, PLAIN])))


def test_a_problem_that_shows_its_answer_is_refused() -> None:
    gold = r"$f(x)=\frac{x+1}{x-1}+2$"
    row = AnswerRow.model_validate(dict(zip(HEADER, (*PLAIN[:1], f"Prove {gold}.", gold, *PLAIN[3:]), strict=True)))

    with pytest.raises(DataError, match="the problem holds its own answer"):
        task_of(row)
