from pathlib import Path

import pytest

from services.green_agent.suite import SuiteError, find_suite, load_suite, suites_dir


def written(folder: Path, text: str) -> Path:
    path = folder / "eval.yaml"
    path.write_text(text)
    return path


def faults(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(suites_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_suite_loads(path: Path) -> None:
    assert load_suite(path).name == path.stem


def test_all_faults_are_reported_with_their_key_and_the_nearest_valid_one(tmp_path: Path) -> None:
    text = "name: t\ndatasets:\n  - type: option\n  - {type: options, wieght: 2}\nsampling: {stratgy: random}\n"

    found = faults(written(tmp_path, text))

    assert "datasets[0].type: unknown data set 'option'; did you mean 'options'?" in found
    assert "datasets[1].wieght: unknown key; did you mean 'weight'?" in found
    assert "sampling.stratgy: unknown key; did you mean 'strategy'?" in found


def test_a_syntax_error_names_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "name: t\ndatasets: [options\n")

    assert f"{path}:3:1: not valid YAML" in faults(path)


def test_a_duplicate_key_is_an_error(tmp_path: Path) -> None:
    assert "eval.yaml:2 name: duplicate key 'name'" in faults(written(tmp_path, "name: a\nname: b\n"))


def test_a_suite_without_data_sets_is_an_error(tmp_path: Path) -> None:
    assert "datasets" in faults(written(tmp_path, "name: t\ndatasets: []\n"))


def test_entries_of_one_type_get_labels_of_their_own(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path, "name: t\ndatasets: [{type: options}, {type: options}]\n"))

    assert [entry.name for entry in suite.datasets] == ["options", "options#2"]


def test_an_unknown_suite_is_named_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match="no suite 'ofline'; did you mean 'offline'"):
        find_suite("ofline")
