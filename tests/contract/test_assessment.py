import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.assessment import RequestError, parse_request

PURPLE = {"purple_agent": "http://127.0.0.1:9010"}


def request(config: object = None, participants: object = PURPLE, **other: object) -> str:
    return json.dumps({"participants": participants, "config": config, **other})


def faults(text: str) -> str:
    with pytest.raises(RequestError) as caught:
        parse_request(text)
    return str(caught.value)


def test_the_participant_and_the_config_are_read() -> None:
    parsed = parse_request(request({"num_tasks": 10, "options_limit": 3, "x_note": [1]}))

    assert parsed.purple_url == "http://127.0.0.1:9010/"
    assert parsed.config.num_tasks == 10
    assert parsed.config.dataset_limits == {"options": 3}
    assert parsed.config.extra == {"x_note": [1]}


def test_texts_of_interpolated_files_become_numbers_and_booleans() -> None:
    config = {"num_tasks": "10", "seed": 7.0, "timeout_seconds": "2.5", "conduct_debate": "true", "model_id": ""}
    parsed = parse_request(request(config)).config

    assert (parsed.num_tasks, parsed.seed, parsed.timeout_seconds) == (10, 7, 2.5)
    assert parsed.conduct_debate is True
    assert parsed.model_id is None


def test_an_unknown_key_is_rejected_with_the_nearest_known_one() -> None:
    assert "config.num_task: unknown key; did you mean 'num_tasks'?" in faults(request({"num_task": 1}))


def test_all_faults_are_reported_at_once() -> None:
    text = faults(request({"num_tasks": 0, "sampling_strategy": "best"}, participants={"a": "ftp://x"}))

    assert "participants.a: expected an http or https URL, got 'ftp://x'" in text
    assert "config.num_tasks" in text
    assert "config.sampling_strategy" in text


@pytest.mark.parametrize("count", [0, -1, "abc", 1.5, True, [3]])
def test_a_count_that_is_no_positive_integer_is_rejected(count: object) -> None:
    assert "config.num_tasks" in faults(request({"num_tasks": count}))


@pytest.mark.parametrize("key", ["extra", "dataset_limits"])
def test_an_open_map_that_is_no_object_is_rejected(key: str) -> None:
    assert f"{key}: expected an object, got list" in faults(request({key: [1]}))


@pytest.mark.parametrize("seconds", ["inf", "nan", 0])
def test_a_deadline_that_never_comes_is_rejected(seconds: object) -> None:
    assert "config.timeout_seconds" in faults(request({"timeout_seconds": seconds}))


def test_half_a_character_is_rejected_since_no_result_could_record_it() -> None:
    assert "surrogates not allowed" in faults(request({"x_note": "\ud83d"}))


def test_a_shard_beyond_the_last_is_rejected() -> None:
    assert "shard_index 2 is not below num_shards 2" in faults(request({"shard_index": 2, "num_shards": 2}))


@pytest.mark.parametrize(
    "url", ["http://user:pw@host/", "http://host/#x", "host:80", "http://", "http://h:99999/", 5, None]
)
def test_a_participant_that_is_no_plain_http_url_is_rejected(url: object) -> None:
    assert "participants.p" in faults(request(participants={"p": url}))


def test_a_rejected_url_never_shows_its_password() -> None:
    assert "hunter2" not in faults(request(participants={"p": "http://me:hunter2@host/"}))


@pytest.mark.parametrize("text", ["Hello", "[1]", '{"a": NaN}', '{"participants": {}, "participants": {}}', ""])
def test_what_is_no_request_is_rejected_with_the_expected_form(text: str) -> None:
    assert 'expected a JSON object {"participants": {role: url}' in faults(text)


def test_several_participants_need_a_role() -> None:
    two = {"a": "http://h:1", "b": "http://h:2"}

    assert "name one in config.purple_role" in faults(request(participants=two))
    assert parse_request(request({"purple_role": "b"}, participants=two)).purple_url == "http://h:2/"


def test_keys_beside_participants_and_config_are_kept_as_ignored() -> None:
    assert parse_request(request(assessment_id="7", a=1)).ignored_keys == ("a", "assessment_id")


@given(st.text())
def test_any_text_that_is_no_request_is_rejected_in_few_words(text: str) -> None:
    assert len(faults(text)) <= 2_000


def test_the_keys_of_the_finance_suite_are_read() -> None:
    config = {"fill": "generate", "max_steps": "20", "judge": {"model": "m"}, "bizfinbench_limit": 7}
    parsed = parse_request(request(config)).config

    assert (parsed.fill, parsed.max_steps, parsed.judge) == ("generate", 20, {"model": "m"})
    assert parsed.dataset_limits == {"bizfinbench": 7}


@pytest.mark.parametrize("config", [{"fill": "all"}, {"max_steps": 0}, {"judge": "gpt-4o-mini"}])
def test_keys_of_the_finance_suite_are_checked(config: dict[str, object]) -> None:
    assert f"config.{next(iter(config))}" in faults(request(config))
