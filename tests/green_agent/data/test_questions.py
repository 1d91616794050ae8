"""Files of questions, read whole or refused."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from services.green_agent.data.errors import DataError
from services.green_agent.data.questions import LARGEST_FILE, LongText, read_questions


class Item(BaseModel):
    model_config = ConfigDict(frozen=True)

    question_id: LongText
    number: int


def test_items_keep_their_order_and_the_files_own_count_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    rows = [{"question_id": name, "number": number} for number, name in enumerate("bca")]
    path.write_text(json.dumps({"count": "many", "questions": rows}))

    file = read_questions(path, Item)

    assert [read.item.question_id for read in file.items] == ["b", "c", "a"]
    assert (file.name, file.declared) == ("q.json", "many")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)

    with pytest.raises(DataError, match=r"q\.json: \d+ bytes, at most \d+ are read"):
        read_questions(path, Item)


def test_of_many_faults_ten_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(json.dumps([{"question_id": str(number), "number": "x"} for number in range(25)]))

    with pytest.raises(DataError) as error:
        read_questions(path, Item)

    text = str(error.value)
    assert text.startswith("q.json: row 0 (0): number: Input should be a valid integer")
    assert text.count("row ") == 10
    assert text.endswith("; and 15 more")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"", "not JSON"),
        (b'[{"number": NaN}]', "not JSON"),
        (b'[{"question_id": "\\ud800", "number": 1}]', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"questions": [{"number": ' + b"9" * 400 + b"}]}", "questions: number: a whole number beyond"),
        (b'[{"number": 1e999}]', "number: the number inf where a finite one"),
        (b'[{"x": ' + b"[" * 100 + b"]" * 100 + b"}]", "nested deeper than 64"),
    ],
)
def test_what_is_no_json_of_finite_numbers_and_storable_text_is_refused(
    tmp_path: Path, content: bytes, fault: str
) -> None:
    path = tmp_path / "q.json"
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"q\.json: .*{fault}"):
        read_questions(path, Item)
