from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.environment import (
    Reference,
    holds_literal_secret,
    inherited,
    parts_of,
    read_env_file,
    resolve,
    without_literal_secrets,
)
from services.runner.failures import ScenarioError


def write(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_text(text)
    return path


def test_an_environment_file_knows_comments_quotes_and_export(tmp_path: Path) -> None:
    path = write(
        tmp_path, '# keys\nA=1\nexport B = two words # three\nC=\'$HOME # kept\'\nD="a\\n\\"b\\"" # end\nE=\n\nF=x#y\n'
    )

    found = read_env_file(path)

    assert found == {"A": "1", "B": "two words", "C": "$HOME # kept", "D": 'a\n"b"', "E": "", "F": "x#y"}


def test_wrong_lines_of_an_environment_file_are_named_by_number_and_never_quoted(tmp_path: Path) -> None:
    path = write(tmp_path, "A=1\nsk-verysecretvalue\nB='open\n")

    with pytest.raises(ScenarioError) as caught:
        read_env_file(path)

    assert caught.value.faults == (f"{path}:2: expected NAME=value", f"{path}:3: expected NAME=value")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoneyone"),
        ("${B:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${B:-}", ""),
        ("${B:-$$5 a}", "$5 a"),
        ("cost: $$5", "cost: $5"),
        ("$${A}", "${A}"),
        ("${A:?must be set}", "one"),
        ('quotes " # {} and\nnewline', 'quotes " # {} and\nnewline'),
    ],
)
def test_references_are_replaced_and_everything_else_is_kept(template: str, expected: str) -> None:
    assert resolve(template, {"A": "one", "EMPTY": ""}) == expected


@pytest.mark.parametrize(
    "template", ["$HOME", "a $ b", "${A-x}", "${}", "$", "${A:-$HOME}", "${A:-${B}}", "${ A }", "${A"]
)
def test_a_lone_dollar_is_an_error(template: str) -> None:
    with pytest.raises(ScenarioError, match=r"a lone \$"):
        resolve(template, {"HOME": "/home"})


def test_a_missing_variable_is_named_with_the_text_of_its_author() -> None:
    with pytest.raises(ScenarioError, match="variable KEY is not set: ask the operator"):
        resolve("${KEY:?ask the operator}", {})


def test_a_value_falls_into_texts_and_references() -> None:
    assert parts_of("a$$b${C}${D:-d$$e}${F:?why not}") == (
        "a",
        "$",
        "b",
        Reference(name="C"),
        Reference(name="D", default="d$e"),
        Reference(name="F", hint="why not"),
    )
    assert parts_of("") == ()


@given(st.text())
def test_a_text_whose_dollars_are_doubled_comes_through_unchanged(text: str) -> None:
    assert resolve(text.replace("$", "$$"), {}) == text


@pytest.mark.parametrize(
    ("name", "template", "holds"),
    [
        ("PLACE", "${OPENAI_API_KEY:-hunter2}", True),
        ("API_KEY", "${A}${B:-hunter2}", True),
        ("API_KEY", "${A:-EMPTY}", False),
        ("API_KEY", "Bearer ${A}", False),
        ("API_KEY", "${A:?set it}", False),
        ("PLACE", "${PORT:-8000}", False),
    ],
)
def test_a_default_is_a_literal_where_a_secret_belongs(name: str, template: str, *, holds: bool) -> None:
    assert holds_literal_secret(name, template) is holds


def test_what_is_stored_of_a_table_holds_no_literal_secret() -> None:
    table = {
        "OPENAI_API_KEY": "a-literal-key-value",
        "HF_TOKEN": "${HF_TOKEN}",
        "NOTE": "sk-" + "a1b2c3d4" * 4,
        "DUMMY_KEY": "EMPTY",
        "OTHER_KEY": "${OTHER_KEY:-EMPTY}",
        "THIRD_KEY": "${THIRD_KEY:-a-literal-default}",
        "MODE": "fast",
    }

    assert without_literal_secrets(table) == {
        "OPENAI_API_KEY": "${OPENAI_API_KEY}",
        "HF_TOKEN": "${HF_TOKEN}",
        "NOTE": "${NOTE}",
        "DUMMY_KEY": "EMPTY",
        "OTHER_KEY": "${OTHER_KEY:-EMPTY}",
        "THIRD_KEY": "${THIRD_KEY}",
        "MODE": "fast",
    }


def test_an_agent_with_its_own_table_gets_only_the_harmless_few_of_ours() -> None:
    own = {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "AWS_SECRET": "no", "EXTRA": "yes", "LANGUAGE": "en"}

    assert inherited(own, everything=False, names=("EXTRA",)) == {
        "PATH": "/bin",
        "HOME": "/h",
        "LC_ALL": "C",
        "EXTRA": "yes",
    }
    assert inherited(own, everything=True) == own
