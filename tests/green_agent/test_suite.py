from pathlib import Path

import pytest

from services.green_agent.suite import SuiteError, bundled_suite, find_suite, load_suite, suites_dir


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

    assert "eval.yaml:3 datasets[0].type: unknown data set 'option'; did you mean 'options'?" in found
    assert "eval.yaml:4 datasets[1].wieght: unknown key; did you mean 'weight'?" in found
    assert "eval.yaml:5 sampling.stratgy: unknown key; did you mean 'strategy'?" in found


def test_a_nested_key_is_named_with_its_line_and_the_nearest_one_of_its_table(tmp_path: Path) -> None:
    text = """\
name: t
datasets:
  - type: crypto
    on_missing: generate
    evaluation:
      initial_balance: 10000
      trading_fees: 0.0004
      score_weights: {baselin: 1}
    generator: {bars: 1}
llm_eval:
  model: m
  panel:
    - {model: n, temprature: 0}
"""

    found = faults(written(tmp_path, text)).replace(f"{tmp_path}/", "").split("\n")

    assert found == [
        "eval.yaml:7 datasets[0].evaluation.trading_fees: unknown key; did you mean 'trading_fee'?",
        "eval.yaml:8 datasets[0].evaluation.score_weights.baselin: unknown key; did you mean 'baseline'?",
        "eval.yaml:9 datasets[0].generator.bars: Input should be greater than or equal to 3, got 1",
        "eval.yaml:13 llm_eval.panel[0].temprature: unknown key; did you mean 'temperature'?",
    ]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{type: options, categories: [greek-analysis]}", "unknown category 'greek-analysis'; did you mean"),
        ("{type: bizfinbench, task_types: [event_logic]}", "did you mean 'event_logic_reasoning'?"),
        ("{type: prbench, splits: [finances]}", "unknown split 'finances'; did you mean 'finance'?"),
        ("{type: crypto, evaluation: {meta_transforms: [invert_return]}}", "invert_return"),
        ("{type: synthetic, generator: {templates: [dupond]}}", "dupond"),
    ],
)
def test_unknown_values_of_a_data_set_are_refused_when_the_suite_is_read(
    tmp_path: Path, entry: str, fault: str
) -> None:
    assert fault in faults(written(tmp_path, f"name: t\ndatasets: [{entry}]\n"))


def test_a_fault_never_shows_a_secret(tmp_path: Path) -> None:
    text = (
        "name: t\ndatasets: [{type: crypto, pg_passwort: hunter2, pg_dsn: [hunter2]}]\n"
        "llm_eval: {modle: m, api_key: {hunter2: 1}}\n"
    )

    found = faults(written(tmp_path, text))

    assert "pg_passwort: unknown key; did you mean 'pg_password'?" in found
    assert "llm_eval.api_key" in found
    assert "hunter2" not in found


def test_a_value_that_cannot_be_filled_is_reported_beside_the_other_faults(tmp_path: Path) -> None:
    text = "name: ${NOBODY_SET_THIS}\ndatasets:\n  - {type: options, limit: 0}\n"

    found = faults(written(tmp_path, text)).replace(f"{tmp_path}/", "").split("\n")

    assert found == [
        "eval.yaml:1 name: the variable NOBODY_SET_THIS is not set; set it, or write ${NOBODY_SET_THIS:-default}",
        "eval.yaml:3 datasets[0].limit: Input should be greater than or equal to 1, got 0",
    ]


@pytest.mark.parametrize("weights", ["{options_trading: -1}", "{code: .nan}", "{code: 0}", "{cod: 1}"])
def test_section_weights_that_weigh_nothing_are_refused(tmp_path: Path, weights: str) -> None:
    assert "section_weights" in faults(
        written(tmp_path, f"name: t\ndatasets: [{{type: options}}]\nsection_weights: {weights}\n")
    )


def test_a_request_can_name_bundled_suites_alone_also_by_old_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "name: mine\ndatasets: [{type: options}]\n").rename("eval_medium.yaml")

    assert load_suite(find_suite("eval_medium.yaml")).name == "mine"
    assert load_suite(bundled_suite("eval_medium.yaml")).name == "medium"
    with pytest.raises(SuiteError, match="no suite 'mine"):
        bundled_suite("mine.yaml")


def test_a_syntax_error_names_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "name: t\ndatasets: [options\n")

    assert f"{path}:3:1: not valid YAML" in faults(path)


def test_a_duplicate_key_is_an_error(tmp_path: Path) -> None:
    assert "eval.yaml:2 name: duplicate key 'name'" in faults(written(tmp_path, "name: a\nname: b\n"))


def test_a_suite_without_data_sets_is_an_error(tmp_path: Path) -> None:
    assert "datasets" in faults(written(tmp_path, "name: t\ndatasets: []\n"))


def test_entries_of_one_type_get_labels_of_their_own(tmp_path: Path) -> None:
    entries = "{type: options}, {type: options}, {type: options, name: options#2}, {type: options, name: mine}"
    suite = load_suite(written(tmp_path, f"name: t\ndatasets: [{entries}]\n"))

    assert [entry.name for entry in suite.datasets] == ["options", "options#2", "options#2#2", "mine"]


def test_an_unknown_suite_is_named_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match="no suite 'ofline'; did you mean 'offline'"):
        find_suite("ofline")


@pytest.mark.parametrize(
    "keys",
    ["datasets: [{type: options, weight: WEIGHT}]", "datasets: [{type: options}]\nsection_weights: {code: WEIGHT}"],
)
@pytest.mark.parametrize("weight", [".inf", ".nan", "-1", "1e308"])
def test_a_weight_that_cannot_be_shared_by_is_refused(tmp_path: Path, keys: str, weight: str) -> None:
    path = tmp_path / "eval.yaml"
    path.write_text("name: t\n" + keys.replace("WEIGHT", weight) + "\n")

    with pytest.raises(SuiteError, match=r"weight"):
        load_suite(path)


def test_a_fault_shows_no_key_that_stands_at_the_wrong_place(tmp_path: Path) -> None:
    key = "sk-" + "a" * 24
    path = tmp_path / "eval.yaml"
    path.write_text(f"name: t\ndatasets: [{{type: options}}]\nllm_eval: {{temperature: {key}}}\n")

    with pytest.raises(SuiteError) as caught:
        load_suite(path)

    assert key not in str(caught.value)
    assert "llm_eval.temperature" in str(caught.value)
