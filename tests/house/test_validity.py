"""The audit's table in the documentation is the table that is played."""

from pathlib import Path

from services.runner.audit.exploits import exploits

PAGE = Path(__file__).parents[2] / "docs" / "validity.md"


def table() -> list[list[str]]:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- audit:begin -->")
    lines = [line for line in rest.partition("<!-- audit:end -->")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_exploit_stands_in_the_documented_table_with_the_peers_figure() -> None:
    assert [(row[0], row[1]) for row in table()] == [(exploit.name, exploit.peer) for exploit in exploits()]
