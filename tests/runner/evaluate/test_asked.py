"""What the options of `assay evaluate` mean together, before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.contract.results import Section
from services.runner.evaluate.agents import Drawn, cases, drawn, scenario
from services.runner.evaluate.asked import Asked, check, places
from services.runner.failures import ScenarioError

GIVEN: dict[str, Any] = {
    "model_path": "reference",
    "model_name": None,
    "num_services": None,
    "start_port": None,
    "benchmarks": "all",
    "strategies": "baseline,self_eval_sequential",
    "output_dir": Path("results"),
    "timeout_s": 20.0,
    "skip_launch": False,
    "skip_wait": False,
    "cleanup": False,
    "launcher_name": None,
    "up_options": None,
    "submit": False,
    "sbatch_args": (),
    "endpoints": None,
    "num_samples": None,
    "chains": None,
    "iterations": None,
    "num_tasks": None,
    "judge": None,
    "judge_base": None,
    "judge_provider": None,
    "seed": 0,
    "concurrency": 128,
    "max_tokens": 32_768,
    "reply_timeout_s": 21_600.0,
    "resume": False,
}


def asked(**values: Any) -> Asked:
    return Asked(**{**GIVEN, **values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"strategies": "baselin"}, "did you mean 'baseline'"),
        ({"benchmarks": ","}, "--benchmarks"),
        ({"strategies": ""}, "--strategies"),
        ({"model_path": None}, "--model-path is needed"),
        ({"model_path": "--force"}, "expected a preset, a hub id or a directory"),
        ({"up_options": "--tp '2"}, "--up-options: No closing quotation"),
        ({"up_options": "--tp 2 --num-servers=3"}, "--num-servers is set by this command itself, by --num-services"),
        ({"up_options": "--auth"}, "--auth makes a key that the agents are not told"),
        ({"up_options": "--registry x"}, "--registry is set by this command itself$"),
        ({"skip_launch": True, "launcher_name": "local"}, "--launcher has no effect"),
        ({"skip_launch": True, "up_options": "--tp 2"}, "--up-options has no effect"),
        ({"sbatch_args": ("--mem=1G",)}, "--sbatch-arg has no effect without --submit"),
        ({"skip_wait": True}, "--skip-wait needs --skip-launch"),
        ({"endpoints": "http://h:1/v1"}, "add --skip-launch"),
        ({"skip_launch": True, "cleanup": True}, "--cleanup has no effect"),
        ({"num_samples": 3, "strategies": "self_eval_sequential"}, "--num-samples has no effect"),
        ({"chains": 3, "strategies": "baseline"}, "--chains has no effect"),
        ({"iterations": 3, "strategies": "baseline"}, "--iterations has no effect"),
        ({"judge_base": "http://127.0.0.1:1/v1"}, "without --judge"),
        ({"judge": "m", "judge_base": "http://h:1/v1"}, "set OPENAI_EVAL_API_BASE"),
        ({"skip_launch": True, "start_port": 65_535, "num_services": 2}, "the last port would be 65536"),
    ],
)
def test_a_combination_that_cannot_be_meant_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        check(asked(**values))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"num_services": 2, "cleanup": True},
        {"model_path": "Qwen/Qwen3-8B", "launcher_name": "slurm", "up_options": "--gpu-ids 0 1 --partition 'gpu a'"},
        {"skip_launch": True, "submit": True, "sbatch_args": ("--mem=1G",)},
        {"skip_launch": True, "skip_wait": True, "model_path": "Qwen/Qwen3-8B"},
        {"skip_launch": True, "model_path": None, "endpoints": "http://a:1,http://b:2/v1"},
    ],
)
def test_what_the_guide_says_is_accepted(values: dict[str, Any]) -> None:
    check(asked(**values))


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ScenarioError) as raised:
        check(asked(strategies="nothing", skip_wait=True, model_path=None))

    assert len(raised.value.faults) == 3


def test_all_means_the_two_benchmarks_of_the_guide_and_nothing_is_run_twice() -> None:
    found = cases(asked(benchmarks="humaneval,all,lcb_pro", num_samples=5, chains=2))

    assert [(case.benchmark, case.strategy, case.trials) for case in found] == [
        ("humaneval", "baseline", 5),
        ("humaneval", "self_eval_sequential", 2),
        ("imobench", "baseline", 5),
        ("imobench", "self_eval_sequential", 2),
        ("lcb_pro", "baseline", 5),
        ("lcb_pro", "self_eval_sequential", 2),
    ]


@pytest.mark.parametrize(
    ("values", "model"),
    [
        ({"model_path": "/models/Qwen3-8B/"}, "Qwen3-8B"),
        ({"model_path": "Qwen/Qwen3-8B"}, "Qwen3-8B"),
        ({"model_path": "Qwen/Qwen3-8B", "model_name": "q"}, "q"),
        ({"model_path": None}, None),
    ],
)
def test_the_models_name_is_the_last_part_of_its_path(values: dict[str, Any], model: str | None) -> None:
    assert asked(**values).model == model


@pytest.mark.parametrize(
    ("values", "launcher", "servers"),
    [
        ({}, "local", 4),
        ({"model_path": "qwen3-8b", "launcher_name": "container"}, "compose", None),
        ({"model_path": "qwen3-8b", "launcher_name": "slurm", "num_services": 2}, "slurm", 2),
    ],
)
def test_how_many_servers_of_a_model_there_are_is_for_the_launcher_to_say(
    values: dict[str, Any], launcher: str, servers: int | None
) -> None:
    wanted = asked(**values)

    assert (wanted.launcher, wanted.num_servers) == (launcher, servers)


LOCAL = ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1", "http://127.0.0.1:8002/v1", "http://127.0.0.1:8003/v1")
A_AND_B = {"SGLANG_API_BASES": "http://a:1/v1,http://b:2/v1"}


@pytest.mark.parametrize(
    ("values", "variables", "urls"),
    [
        ({"skip_launch": True}, {}, LOCAL),
        ({"skip_launch": True, "start_port": 9000, "num_services": 1}, {}, ("http://127.0.0.1:9000/v1",)),
        ({"skip_launch": True}, A_AND_B, ("http://a:1/v1", "http://b:2/v1")),
        ({"skip_launch": True}, {"OPENAI_API_BASE": "http://c:3,http://d:4/v1/"}, ("http://c:3/v1", "http://d:4/v1")),
        (
            {"skip_launch": True, "endpoints": "http://e:5, http://f:6/x/v1/"},
            A_AND_B,
            ("http://e:5/v1", "http://f:6/x/v1"),
        ),
    ],
)
def test_servers_are_found_by_option_then_by_variable_then_by_port(
    values: dict[str, Any], variables: dict[str, str], urls: tuple[str, ...]
) -> None:
    assert places(asked(**values), variables).urls == urls


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"endpoints": " , "}, "--endpoints: name at least one server"),
        ({"endpoints": "gpu1:8000"}, "--endpoints: expected http"),
        ({"endpoints": "http://h:1", "start_port": 9000}, "no effect where --endpoints names the servers"),
        ({"num_services": 2}, "no effect where SGLANG_API_BASES names the servers"),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        places(asked(skip_launch=True, **values), A_AND_B)


def test_variables_that_disagree_are_an_error_that_names_both() -> None:
    with pytest.raises(ScenarioError, match=r"SGLANG_API_BASES and OPENAI_API_BASE name different servers"):
        places(asked(skip_launch=True), A_AND_B | {"OPENAI_API_BASE": "http://c:3/v1"})


@pytest.mark.parametrize(
    ("section", "trials", "expected"),
    [
        (Section.CODE, 1, Drawn(temperature=0.2)),
        (Section.CODE, 2, Drawn(temperature=0.8)),
        (Section.MATH, 1, Drawn(temperature=0.6, top_p=0.95, top_k=20)),
        (Section.MATH, 8, Drawn(temperature=0.6, top_p=0.95, top_k=20)),
    ],
)
def test_each_section_has_its_usual_sampling(section: Section, trials: int, expected: Drawn) -> None:
    assert drawn(section, trials=trials) == expected


@pytest.mark.parametrize(
    ("variables", "key"),
    [({"OPENAI_API_KEY": "None"}, "EMPTY"), ({}, "EMPTY"), ({"OPENAI_API_KEY": "k"}, "${OPENAI_API_KEY}")],
)
def test_a_key_is_passed_on_by_name_and_the_word_none_is_no_key(variables: dict[str, str], key: str) -> None:
    wanted = asked(iterations=3)
    case = cases(wanted)[1]

    found = scenario(wanted, case, section=Section.MATH, model="m", urls=LOCAL[:2], variables=variables)

    assert found.purple.env == {
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": "m",
        "OPENAI_API_BASE": "http://127.0.0.1:8000/v1,http://127.0.0.1:8001/v1",
        "OPENAI_API_KEY": key,
        "PURPLE_LLM_TEMPERATURE": "0.6",
        "PURPLE_TOP_P": "0.95",
        "PURPLE_TOP_K": "20",
        "PURPLE_MAX_TOKENS": "32768",
        "PURPLE_SEED": "0",
    }
    assert found.purple.args[-2:] == ("--iterations", "3")
