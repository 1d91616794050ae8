"""The rows of IMO-AnswerBench: read by their exact columns, checked, and one of them repaired by rule.

Source: code-and-math specification 2.4 to 2.6; docs/benchmarks/imobench.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.green_agent.data.loading import content_sha256
from services.green_agent.data.rows import NumberedRow, read_csv
from services.green_agent.data.store import DataError

Version = Literal[1, 2]
Category = Literal["Algebra", "Combinatorics", "Geometry", "Number theory"]

CATEGORIES: Final = frozenset({"Algebra", "Combinatorics", "Geometry", "Number theory"})
MEMBERS: Final[dict[Version, str]] = {1: "answerbench.csv", 2: "answerbench_v2.csv"}
PER_CATEGORY: Final = 100
CONTENT_SHA256: Final[dict[Version, str]] = {
    1: "83de172f4a6164b95d09633c7553404f419410e1e1a22f7473dd4516fabf1ea2",
    2: "f2f6572ec1412a23a357371a13225163804ad5be16bec5498ea11d35d3424c00",
}
"""Of the rows after the repair."""
REPAIRED: Final = "imo-bench-algebra-036"
_ID: Final = "Problem ID"
_SHIFTED: Final = ("Short Answer", "Category", "Subcategory", "Source")


class AnswerRow(BaseModel):
    """One problem with its short answer, as published; further columns count for the digest alone."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    id: str = Field(alias="Problem ID", pattern=r"^imo-bench-[a-z_]+-\d{3}$")
    problem: str = Field(alias="Problem", pattern=r"\S")
    answer: str = Field(alias="Short Answer", pattern=r"\S")
    category: Category = Field(alias="Category")
    subcategory: str = Field(alias="Subcategory")
    source: str = Field(alias="Source")


def answer_rows(path: Path, *, version: Version) -> Sequence[AnswerRow]:
    """The 400 rows of a file of AnswerBench, repaired and checked. Raises DataError naming the row."""
    rows = list(repaired_rows(path))
    _check_digest(path, [row.model_dump(by_alias=True) for row in rows], version)
    for category in sorted(CATEGORIES):
        count = sum(row.category == category for row in rows)
        if count != PER_CATEGORY:
            raise DataError(f"{path.name}: {count} rows of category {category}, expected {PER_CATEGORY}")
    return rows


def repaired_rows(path: Path) -> Iterator[AnswerRow]:
    """The rows one by one, any number of them. Raises DataError for a row that is shifted and not the known one."""
    seen: set[str] = set()
    for read in read_csv(path, lenient=True):
        row = _row(path.name, read)
        if row.id in seen:
            raise DataError(f"{path.name} row {read.number}: {row.id} stands twice")
        seen.add(row.id)
        yield row


def _row(file: str, read: NumberedRow) -> AnswerRow:
    values = read.values
    if values.get(_ID) == REPAIRED and values.get("Category") not in CATEGORIES:
        values = _shifted_back(values)
    try:
        return AnswerRow.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError(f"{file} row {read.number} ({str(values.get(_ID))[:40]}): {told}") from None


def _shifted_back(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The answer begins at the last `,$` of the problem; what follows stands one column too far left."""
    problem, found, answer = str(values.get("Problem", "")).rpartition(",$")
    later = [values.get(name) for name in _SHIFTED[:-1]]
    if not found or values.get("Source") not in {None, ""} or None in later:
        return values
    moved = dict(zip(_SHIFTED, ["$" + answer.strip().strip('"'), *later], strict=True))
    return {**values, "Problem": problem.strip(), **moved}


def _check_digest(path: Path, rows: Sequence[dict[str, JsonValue]], version: Version) -> None:
    expected = CONTENT_SHA256[version]
    got = content_sha256(rows, id_field=_ID)
    if got != expected:
        raise DataError(f"{path.name}: sha256 of the rows is {got}, expected {expected}")
