import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.green_agent.suites.document import Document, DocumentError, read_document

VARIABLES = {"COUNT": "7", "NAME": "a: b", "NOTHING": "", "KEY": "0123", "LIST": "[1, 2]"}


def read(text: str) -> Document:
    return read_document(text, origin="eval.yaml", variables=VARIABLES)


def test_a_value_that_is_one_placeholder_is_read_as_a_scalar_again_and_never_as_structure() -> None:
    text = "a: ${COUNT}\nb: '${NAME}'\nc: ${NOTHING}\nd: x${COUNT}\ne: ${MISSING:-true}\nf: ${LIST}\n"

    assert read(text).value == {"a": 7, "b": "a: b", "c": None, "d": "x7", "e": True, "f": "[1, 2]"}


def test_keys_and_comments_are_never_filled() -> None:
    assert read("# ${MISSING}\n${COUNT}: 1 # ${ALSO_MISSING}\n").value == {"${COUNT}": 1}


def test_secrets_stay_text_whatever_they_look_like() -> None:
    assert read("llm_eval: {api_key: '${KEY}'}\npg_password: 0123\n").value == {
        "llm_eval": {"api_key": "0123"},
        "pg_password": "0123",
    }


def test_every_fault_is_kept_with_its_line_and_key_path() -> None:
    text = "a: 1\nlist:\n  - b: ${UNSET}\n    c: 2\n    c: 3\nd: !!python/name:os.system ''\ne: !!set {a}\n? [x]\n: 1\n"

    assert sorted(read(text).faults.values()) == [
        "eval.yaml:3 list[0].b: the variable UNSET is not set; set it, or write ${UNSET:-default}",
        "eval.yaml:5 list[0].c: duplicate key 'c'",
        "eval.yaml:6 d: no value of YAML type 'python/name:os.system'",
        "eval.yaml:7 e: no value of YAML type 'set'",
        "eval.yaml:8 ?: a key must be text",
    ]


def test_a_key_that_is_absent_is_placed_at_what_encloses_it() -> None:
    document = read("a:\n  b: 1\n")

    assert document.where(("a", "b")) == "eval.yaml:2 a.b"
    assert document.where(("a", "c", 3, "d")) == "eval.yaml:1 a.c[3].d"


def test_merged_mappings_give_way_to_the_keys_of_the_mapping_itself() -> None:
    text = "base: &base {limit: 3, shuffle: true}\nentry:\n  <<: *base\n  limit: 5\n"

    assert read(text).value == {"base": {"limit": 3, "shuffle": True}, "entry": {"limit": 5, "shuffle": True}}


def test_a_file_that_unfolds_without_end_is_refused() -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))

    with pytest.raises(DocumentError, match="more than 50000 values"):
        read("a0: &a0 [x]\n" + levels)
    with pytest.raises(DocumentError, match="not valid YAML"):
        read("a: &a [*a]\n")


def test_a_syntax_error_names_line_and_column() -> None:
    with pytest.raises(DocumentError, match=r"eval\.yaml:2:1: not valid YAML"):
        read("a: [1\n")


SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="$", codec="utf-8"))


@given(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), inner),
        max_leaves=20,
    )
)
def test_a_file_without_variables_says_what_safe_yaml_says(value: JsonValue) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)

    assert read(text).value == yaml.safe_load(text)


def test_a_mapping_that_merges_another_may_be_named_again() -> None:
    text = "a: &a {limit: 5, shuffle: true}\nb: &b {<<: *a, limit: 7}\nc: *b\nd: {<<: [*b, {limit: 1, weight: 2}]}\n"

    found = read(text)

    assert not found.faults
    assert found.value == yaml.safe_load(text)


def test_merges_that_unfold_without_end_are_refused_before_they_fill_the_memory() -> None:
    levels = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))

    with pytest.raises(DocumentError, match="more than 50000 values"):
        read("a0: &a0 {x: 1}\n" + levels)
    with pytest.raises(DocumentError, match="not valid YAML"):
        read("a: &a {<<: *a}\n")


@pytest.mark.parametrize("scalar", ["!!bool maybe", "!!int ''", "!!float ''", "2026-02-30"])
def test_a_scalar_that_its_tag_cannot_be_is_a_fault(scalar: str) -> None:
    assert [fault.partition(" of ")[0] for fault in read(f"a: {scalar}\n").faults.values()] == [
        "eval.yaml:1 a: no value"
    ]


def test_a_character_that_yaml_does_not_know_is_a_syntax_fault() -> None:
    with pytest.raises(DocumentError, match=r"eval\.yaml: not valid YAML"):
        read("name: a\x00b\n")
