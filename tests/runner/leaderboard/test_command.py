import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from services.contract.outcomes import Outcome
from services.runner.cli import main
from services.runner.leaderboard.grid import Column, Grid, as_csv, as_markdown, as_text, plain
from tests.runner.leaderboard.files import (
    CODE,
    document_of,
    old_result,
    old_row,
    plan_of,
    result_of,
    write,
)

PLAN = plan_of(CODE, tasks=2)
HOSTILE = "=cmd()|<script>alert(1)</script>\n\x1b[31m\u202e[x](http://e.example)\x9b2J"


def leaderboard(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["leaderboard", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    errors = [old_row(1, score=1.0), old_row(2, score=0.5, predicted="Error code: 402 - no credit")]
    return write(
        tmp_path / "results",
        whole=document_of(result_of(PLAN, model_id="m-1", run_id="1"), agent="agent-1"),
        hostile=document_of(result_of(PLAN, {PLAN.trials[0].key: Outcome.INFRA_ERROR}, model_id=HOSTILE), agent="-1+1"),
        old=document_of(old_result(75.0, errors), agent="@old"),
        rubbish={"results": "a"},
        other={"a": 1},
    )


def test_the_table_ranks_ours_and_shows_old_ones_apart(folder: Path) -> None:
    ran = leaderboard(folder)

    lines = ran.stdout.splitlines()
    assert ran.exit_code == 0
    assert lines[0] == f"made up: 4 tasks, seed 7, plan {PLAN.digest[7:15]}"
    assert lines[3].split()[:6] == ["1", "m-1", "Scripted", "purple", "agent-1", "4/4"]
    assert re.search(r"2  =cmd\(\).* 3/4 +100\.0 .* 75 % +75\.0 . 100\.0  incomplete  hostile\.json$", lines[4])
    assert "Of older formats" in lines
    assert "1 of 2 rows (50 %) are errors, in 1 of 1 entries; the text of 1 was graded as an answer." in lines
    assert re.search(
        r"1  @old +2 +75\.0  1/2 \(50 %\) +50\.0 +100\.0 +100 %  1 error graded as answers  leaderboard", lines[-2]
    )
    assert ran.stderr.startswith("assay: rubbish.json: no known form of results")


def test_a_terminal_gets_no_control_character_of_an_agent(folder: Path) -> None:
    ran = leaderboard(folder)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.stdout + ran.stderr)


def test_markdown_keeps_a_hostile_name_in_its_cell(folder: Path) -> None:
    rows = [line for line in leaderboard(folder, "--format", "markdown").stdout.splitlines() if line.startswith("| ")]

    hostile = next(line for line in rows if "cmd" in line)
    assert len(re.findall(r"(?<!\\)\|", hostile)) == len(re.findall(r"\|", rows[0]))
    assert r"=cmd()\|&lt;script&gt;alert(1)&lt;/script&gt;" in hostile
    assert r"\[x\](http:\/\/e.example)" in hostile


def test_csv_has_the_columns_of_the_guide_and_no_formula(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(leaderboard(folder, "--format", "csv").stdout)))

    guide = [
        "Model",
        "Tasks",
        "Overall",
        "Knowledge",
        "Analysis",
        "Options",
        "Crypto",
        "GDPVal",
        "Coverage",
        "Lower",
        "Upper",
        "File",
    ]
    assert [name for name in rows[0] if name in guide] == guide
    assert [row["Model"][:6] for row in rows] == ["m-1", "'=cmd(", ""]
    assert [row["ID"] for row in rows] == ["agent-1", "'-1+1", "'@old"]
    assert [
        (row["Table"], row["Rank"], row["Overall"], row["Lower"], row["Complete"], row["Errors"]) for row in rows
    ] == [
        (f"plan {PLAN.digest[7:15]}", "1", "100.0", "100.0", "True", "0"),
        (f"plan {PLAN.digest[7:15]}", "2", "100.0", "75.0", "False", "1"),
        ("older formats", "1", "75.0", "", "", "1"),
    ]
    assert rows[2]["Errors at 0"] == "50.0"


def test_json_says_everything(folder: Path) -> None:
    told = json.loads(leaderboard(folder, "--json").stdout)

    (table,) = told["tables"]
    assert table["plan_digest"] == PLAN.digest
    assert [(entry["rank"], entry["overall"]["score"], entry["overall"]["lower"]) for entry in table["entries"]] == [
        (1, 100.0, 100.0), (2, 100.0, 75.0),
    ]  # fmt: skip
    assert table["entries"][1]["model"] == HOSTILE
    assert [(old["stored"], old["recomputed"], old["errors_graded"]) for old in told["old"]["entries"]] == [
        (75.0, 50.0, 1)
    ]
    assert [skipped["file"] for skipped in told["skipped"]] == ["rubbish.json"]
    assert told["other_files"] == ["other.json"]


def test_many_files_with_one_fault_are_counted_and_json_names_all(folder: Path) -> None:
    early = result_of(PLAN) | {"schema_version": "2.1"}
    write(folder, **{f"early{number}": document_of(early) for number in range(9)})

    ran = leaderboard(folder, "--json")

    lines = [line for line in ran.stderr.splitlines() if "before results kept" in line]
    assert [line.split(":")[1].strip() for line in lines] == [
        "early0.json",
        "early1.json",
        "early2.json",
        "and 6 more with the same reason",
    ]
    assert len(json.loads(ran.stdout)["skipped"]) == 10


def test_a_column_without_a_word_in_it_is_not_shown(folder: Path) -> None:
    for name in ("hostile", "old", "rubbish"):
        (folder / f"{name}.json").unlink()

    ran = leaderboard(folder)

    assert ran.stdout.splitlines()[2].split() == [
        "#", "Model", "Agent", "ID", "Tasks", "Overall", "95", "%", "interval", "Code", "Math", "Coverage", "File",
    ]  # fmt: skip
    assert ran.stderr == ""


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_nothing_else_and_shows_a_hostile_name_as_text(folder: Path, tmp_path: Path) -> None:
    ran = leaderboard(folder, "-o", tmp_path / "board.html")

    text = (tmp_path / "board.html").read_text()
    page = Page(text)
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert "script" not in page.tags
    assert {link[0] for link in page.links} == {"#"}
    assert "=cmd()|<script>alert(1)</script> \ufffd[31m" in page.words
    assert "placed by its lower bound 75.0" in page.words
    assert "1/2 (50 %)" in page.words
    assert "rubbish.json: no known form" in page.words


def test_the_suffix_of_the_file_says_its_form(folder: Path, tmp_path: Path) -> None:
    for name, start in (("b.csv", "Table,Rank"), ("b.md", "## made up"), ("b.json", "{"), ("b.txt", "made up")):
        leaderboard(folder, "--output", tmp_path / name)
        assert (tmp_path / name).read_text().startswith(start)


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    for form in ("text", "html", "csv", "json"):
        assert leaderboard(folder, "--format", form).stdout == leaderboard(folder, "--format", form).stdout


def test_nothing_to_rank_is_exit_code_1_and_says_why(tmp_path: Path) -> None:
    ran = leaderboard(write(tmp_path, one={"results": 1}, two={"a": 1}))

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1] == "assay: nothing to rank: no result was found; 1 other .json files are there"
    assert "one.json: no known form" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort-by", "Speed"], "--sort-by 'Speed': no such column"),
        (["--query", "Speed"], "--query 'Speed': neither a file nor one of 'Overall Performance', "),
        (["--query", "Overall", "--top", "2", "--format", "html"], "--top does not go with --query"),
        (["--query", "Overall", "--role", "a b"], "role 'a b': expected a letter"),
        (["--top", "0"], "Invalid value for '--top'"),
        (["nowhere"], "'nowhere' does not exist"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_named(folder: Path, arguments: list[str], message: str) -> None:
    ran = leaderboard(folder, *arguments)

    assert ran.exit_code == 2
    assert message in ran.stderr


def test_the_queries_are_printed_for_any_role() -> None:
    printed = json.loads(leaderboard("queries", "--role", "purple-1").stdout)
    wrong = leaderboard("queries", "--role", "a;b")

    assert [list(entry) for entry in printed] == [["name", "query"]] * 8
    assert all('participants."purple-1" AS id' in entry["query"] for entry in printed)
    assert (wrong.exit_code, "--role: role 'a;b'" in wrong.stderr) == (2, True)


def test_a_query_by_name_is_answered_in_every_form(folder: Path) -> None:
    (folder / "old.json").unlink()

    text, table, objects = (
        leaderboard(folder, "--query", "overall", "--format", form) for form in ("text", "csv", "json")
    )

    assert text.stdout.splitlines()[1].split()[:4] == ["agent-1", "100.0", "100.0", "100.0"]
    assert table.stdout.splitlines()[2].startswith("'-1+1,100.0,75.0,100.0,0.75,3,4,False,")
    assert [(row["id"], row["Lower"]) for row in json.loads(objects.stdout)] == [("agent-1", 100.0), ("-1+1", 75.0)]


def test_a_file_that_no_query_sees_is_named(folder: Path) -> None:
    write(folder, bare=result_of(PLAN, run_id="2"))

    ran = leaderboard(folder, "--query", "Overall", "--json")

    assert [row["id"] for row in json.loads(ran.stdout)] == ["agent-1", "-1+1"]
    assert "assay: bare.json: no query sees it: its form is not {participants, results}" in ran.stderr


def test_a_query_of_a_file_is_run_as_it_stands(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text("SELECT count(*) AS files FROM results;")
    (tmp_path / "mine.json").write_text('[{"name": "Files", "query": "SELECT count(*) AS files FROM results"}]')
    (tmp_path / "two.json").write_text(json.dumps(2 * [{"name": "Files", "query": "SELECT 1"}]))
    (tmp_path / "wrong.sql").write_text("SELECT nothing FROM results")

    for name in ("mine.sql", "mine.json"):
        assert leaderboard(folder, "--query", tmp_path / name).stdout == "files\n    3\n"
    two, wrong = (leaderboard(folder, "--query", tmp_path / name) for name in ("two.json", "wrong.sql"))
    assert (two.exit_code, wrong.exit_code) == (2, 2)
    assert "found 'Files', 'Files'; put the SQL of one into a file" in two.stderr
    assert "query 'wrong': Binder Error" in wrong.stderr


def test_without_duckdb_the_extra_is_named(folder: Path) -> None:
    script = "import sys; sys.modules['duckdb'] = None; from services.runner.cli import main; main()"

    ran = subprocess.run(
        [sys.executable, "-c", script, "leaderboard", str(folder), "--query", "Overall"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert ran.returncode == 2
    assert "--query needs DuckDB: pip install 'assay[leaderboard]'" in ran.stderr


def test_help_is_that_of_the_ranking_and_names_the_queries() -> None:
    helped = leaderboard("--help")

    assert "--sort-by" in helped.stdout
    assert "assay leaderboard queries" in helped.stdout


TEXTS = st.text(max_size=30)


@given(TEXTS, TEXTS)
def test_no_text_leaves_its_cell(name: str, other: str) -> None:
    grid = Grid(columns=(Column(name="a"), Column(name="b")), rows=((name, other),))

    assert len(as_text([grid]).split("\n")) == 2
    lines = as_markdown([grid]).split("\n")
    assert [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines] == [3, 3, 3]
    (head, row) = list(csv.reader(io.StringIO(as_csv(["a", "b"], [[name, other]]))))
    assert head == ["a", "b"]
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@given(TEXTS)
def test_a_plain_text_is_one_line_of_printable_characters(text: str) -> None:
    clean = plain(text, width=10)

    assert len(clean) <= 10
    assert clean.isprintable()


def numbers(values: list[Any]) -> str:
    return as_csv(["n"], [[value] for value in values])


def test_numbers_of_a_csv_stay_numbers() -> None:
    assert numbers([-1.5, 2, None, True, "-1.5"]) == 'n\n-1.5\n2\n""\nTrue\n\'-1.5\n'
