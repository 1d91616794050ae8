"""The traps of the specification's section 3, each a test, numbered as there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engines.base import EngineRefusalError
from services.inference.engines.reference import reference_plan
from services.inference.engines.rope import stretched
from services.inference.failures import UsageError
from services.inference.planning.presets import EngineName, catalogue
from tests.contract.calling import client_of, completed
from tests.inference.engines.launches import command, container, here, planned, preset, serving, value_of
from tests.support.raw_http import raw_server, response

ENGINES: tuple[EngineName, ...] = ("vllm", "trtllm", "sglang")
SERVICES = Path(__file__).parents[3] / "services"


@pytest.mark.parametrize("engine", ["vllm", "trtllm", "sglang", "transformers"])
@pytest.mark.parametrize("dtype", ["float8", "float8_e4m3fn", "fp8", "int8"])
def test_1_a_dtype_that_does_not_exist_is_refused_with_the_remedy(dtype: str, engine: EngineName) -> None:
    plan = planned("qwen3-32b", engine, dtype=dtype)

    with pytest.raises(EngineRefusalError, match=rf"--dtype {dtype} does not exist: .*--quantization fp8"):
        command(plan, serving("qwen3-32b"), container(engine, "qwen3-32b"))


@pytest.mark.parametrize("engine", ["vllm", "trtllm", "sglang", "transformers"])
def test_1_what_the_planner_refuses_about_numbers_no_engine_starts_by_force(engine: EngineName) -> None:
    plan = planned("qwen3-32b", engine, dtype="float32", quantization="awq")

    with pytest.raises(EngineRefusalError) as refused:
        command(plan, serving("qwen3-32b"), container(engine, "qwen3-32b"))

    about_numbers = [reason for reason in plan.reasons if reason.startswith(("--dtype", "--quantization"))]
    assert len(about_numbers) == 2
    assert all(f"- {reason}" in str(refused.value).splitlines() for reason in about_numbers)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_2_quantisation_is_sent_for_online_fp8_of_a_16_bit_checkpoint(engine: EngineName) -> None:
    online = command(planned("qwen3-32b", engine, quantization="fp8"), serving("qwen3-32b"), here())
    stored = command(planned("qwen3-32b-fp8", engine, quantization="fp8"), serving("qwen3-32b-fp8"), here())
    silent = command(planned("qwen3-32b-awq", engine), serving("qwen3-32b-awq"), here())

    assert value_of(online.argv, "--quantization") == "fp8"
    assert "--quantization" not in stored.argv
    assert "--quantization" not in silent.argv


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("qwen3-32b", "awq", "16 bits"),
        ("qwen3-32b-fp8", "gptq", "fp8"),
        ("qwen3-32b-awq", "fp8", "int4"),
        ("gpt-oss-120b", "fp8", "mxfp4"),
    ],
)
def test_2_quantisation_that_contradicts_the_checkpoint_is_refused(name: str, asked: str, said: str) -> None:
    with pytest.raises(EngineRefusalError, match=f"--quantization {asked} contradicts a checkpoint in {said}: "):
        command(planned(name, quantization=asked), serving(name), here())


@pytest.mark.parametrize("engine", ENGINES)
def test_3_no_preset_runs_a_models_own_program_unless_it_is_allowed(engine: EngineName) -> None:
    for name in catalogue().models:
        place = container(engine, name, templates="/templates")
        plan = planned(name, engine, gpu="b200-192", tp=8, tools=False)
        own = command(plan, serving(name), place).argv
        allowed = command(plan, serving(name, allow_remote_code=True), place).argv

        assert {word.replace("_", "-") for word in own}.isdisjoint({"--trust-remote-code"}), name
        assert [word.replace("_", "-") for word in allowed].count("--trust-remote-code") == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_4_more_tokens_than_positions_are_refused(engine: EngineName) -> None:
    plan = planned("qwen3-32b", engine, length=40_961)

    with pytest.raises(
        EngineRefusalError, match="--max-model-len 40961: qwen3-32b has 40960 positions; take at most 40960"
    ):
        command(plan, serving("qwen3-32b"), container(engine, "qwen3-32b"))


@pytest.mark.parametrize(("engine", "flag"), [("vllm", "--hf-overrides"), ("sglang", "--json-model-override-args")])
def test_4_rope_scaling_writes_its_parameters_and_the_positions_together(engine: EngineName, flag: str) -> None:
    longer = stretched(preset("qwen3-32b"), "yarn:2.0")
    plan = planned("qwen3-32b", engine, preset=longer, tp=2, length=65_536)

    argv = command(plan, serving("qwen3-32b", rope_scaling="yarn:2.0"), here()).argv

    assert longer.lengths.max_positions == 65_536
    assert plan.verdict == "fit"
    assert json.loads(value_of(argv, flag) or "") == {
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 32_768,
            "rope_theta": 1_000_000,
        },
        "max_position_embeddings": 65_536,
    }


def test_4_rope_scaling_that_is_too_short_for_the_length_is_refused() -> None:
    plan = planned("qwen3-32b", length=65_537)

    with pytest.raises(EngineRefusalError, match=r"qwen3-32b has 65536 positions; take at most 65536$"):
        command(plan, serving("qwen3-32b", rope_scaling="yarn:2.0"), here())


@pytest.mark.parametrize("text", ["yarn", "yarn:", "yarn:1", "yarn:0.5", "linear:2", "yarn:2,0", "yarn:-2", "yarn:nan"])
def test_4_another_form_of_rope_scaling_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected yarn:F with a factor above 1"):
        stretched(preset("qwen3-32b"), text)


def test_4_rope_scaling_needs_the_rotary_base_and_must_gain_something() -> None:
    with pytest.raises(UsageError, match=r"the rotary base of llama-3\.1-8b is not known"):
        stretched(preset("llama-3.1-8b"), "yarn:2.0")
    with pytest.raises(UsageError, match="gives 36044 tokens; qwen3-32b has 40960 without it"):
        stretched(preset("qwen3-32b"), "yarn:1.1")


@given(factor=st.floats(1.26, 100).map(lambda value: round(value, 3)))
def test_4_a_larger_factor_never_gives_fewer_positions(factor: float) -> None:
    more = stretched(preset("qwen3-32b"), f"yarn:{factor + 1:.3f}").lengths.max_positions

    assert more >= stretched(preset("qwen3-32b"), f"yarn:{factor:.3f}").lengths.max_positions > 40_960


def test_5_no_qwen3_preset_yields_qwen3_xml_which_loses_calls() -> None:
    found = {
        value_of(command(planned(name), serving(name), here()).argv, "--tool-call-parser")
        for name, row in catalogue().models.items()
        if row.family.startswith(("qwen3", "orchestrator"))
    }

    assert found == {"hermes"}


@pytest.mark.parametrize("engine", ENGINES)
def test_6_a_reasoning_parser_on_a_model_that_does_not_think_is_refused(engine: EngineName) -> None:
    asked = serving("mixtral-8x22b", reasoning_parser="qwen3")

    with pytest.raises(EngineRefusalError, match="mixtral-8x22b does not think, and its whole answer would arrive as"):
        command(planned("mixtral-8x22b", engine, tp=8), asked, container(engine, "mixtral-8x22b"))


@pytest.mark.parametrize(
    ("thinking", "switch"), [(False, '{"enable_thinking":false}'), (True, '{"enable_thinking":true}')]
)
def test_6_thinking_off_sets_the_template_default_beside_the_parser(thinking: bool, switch: str) -> None:  # noqa: FBT001
    argv = command(planned("qwen3-32b"), serving("qwen3-32b", thinking=thinking), here()).argv

    assert value_of(argv, "--reasoning-parser") == "qwen3"
    assert value_of(argv, "--default-chat-template-kwargs") == switch


def test_6_the_key_of_the_switch_is_the_models() -> None:
    plan = planned("deepseek-v3.2", gpu="h200-141", tp=8)

    argv = command(plan, serving("deepseek-v3.2", thinking=False), here()).argv

    assert value_of(argv, "--default-chat-template-kwargs") == '{"thinking":false}'


@pytest.mark.parametrize(
    ("name", "thinking", "said"),
    [("gpt-oss-120b", False, "always thinks"), ("mixtral-8x22b", True, "never thinks")],
)
def test_6_a_switch_that_a_model_does_not_have_is_refused(name: str, thinking: bool, said: str) -> None:  # noqa: FBT001
    with pytest.raises(EngineRefusalError, match=f"--thinking o(n|ff): {name} {said}"):
        command(planned(name, tp=8), serving(name, thinking=thinking), here())


@pytest.mark.parametrize("engine", ["trtllm", "sglang"])
def test_6_an_engine_without_a_switch_says_how_requests_ask(engine: EngineName) -> None:
    with pytest.raises(
        EngineRefusalError, match=r'with each request only, as chat_template_kwargs \{"enable_thinking": false\}'
    ):
        command(planned("qwen3-32b", engine), serving("qwen3-32b", thinking=False), container(engine, "qwen3-32b"))


@pytest.mark.parametrize("engine", ENGINES)
def test_7_guided_decoding_by_its_old_names_is_refused(engine: EngineName) -> None:
    asked = serving("qwen3-32b", engine_args=(("guided-decoding-backend", "xgrammar"),))

    with pytest.raises(EngineRefusalError, match="clients send response_format or structured_outputs"):
        command(planned("qwen3-32b", engine), asked, container(engine, "qwen3-32b"))


def test_7_nothing_of_ours_sends_guided_decoding() -> None:
    named = ('"guided_', "'guided_", " guided_json=", " guided_regex=", " guided_choice=", " guided_grammar=")
    senders = [
        file for file in SERVICES.rglob("*.py") if any(name in file.read_text(encoding="utf-8") for name in named)
    ]

    assert senders == []


async def test_8_a_named_tool_choice_ends_with_stop_and_is_a_call_all_the_same() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_quote", "arguments": '{"ticker": "ABC"}'}}
    said = {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "stop"}]}

    async with raw_server([response(said)]) as server, client_of(server.url) as client:
        answer = await completed(client, "Quote ABC")

    assert [(made.name, made.arguments) for made in answer.tool_calls] == [("get_quote", '{"ticker": "ABC"}')]


@pytest.mark.parametrize(
    "config", ['{"disable_any_whitespace":true}', '{"backend":"auto","disable_any_whitespace":true}']
)
def test_9_banning_blanks_needs_a_named_backend(config: str) -> None:
    asked = serving("qwen3-32b", engine_args=(("structured-outputs-config", config),))

    with pytest.raises(EngineRefusalError, match="disable_any_whitespace needs a named backend"):
        command(planned("qwen3-32b"), asked, here())


def test_9_with_a_named_backend_it_is_passed_on() -> None:
    config = '{"backend":"xgrammar","disable_any_whitespace":true}'
    asked = serving("qwen3-32b", engine_args=(("structured-outputs-config", config),))

    assert value_of(command(planned("qwen3-32b"), asked, here()).argv, "--structured-outputs-config") == config


@pytest.mark.parametrize(("engine", "written"), [("vllm", "max-num-seqs"), ("sglang", "max_running_requests")])
def test_10_an_engine_argument_is_passed_on_as_it_is(engine: EngineName, written: str) -> None:
    asked = serving("qwen3-32b", engine_args=((written, "16"), ("log-requests", None)))

    argv = command(planned("qwen3-32b", engine), asked, here()).argv

    assert argv[-3:] == (f"--{written}", "16", "--log-requests")


def test_10_an_engine_argument_takes_the_place_of_a_default_of_ours() -> None:
    place = container("trtllm", "qwen3-32b")
    plain = command(planned("qwen3-32b", "trtllm"), serving("qwen3-32b"), place).argv
    asked = command(
        planned("qwen3-32b", "trtllm"), serving("qwen3-32b", engine_args=(("max_batch_size", "8"),)), place
    ).argv

    assert value_of(asked, "--max_batch_size") == "8"
    assert len(asked) == len(plain)


@pytest.mark.parametrize(
    ("engine", "key", "option"),
    [
        ("vllm", "max_model_len", "--max-model-len"),
        ("vllm", "--tensor-parallel-size", "--tp"),
        ("vllm", "trust-remote-code", "--allow-remote-code"),
        ("vllm", "tensor-parallel", "--tp"),
        ("vllm", "hf_overrides.rope_parameters", "--rope-scaling"),
        ("vllm", "model", "the model"),
        ("vllm", "config", "an --engine-arg for each"),
        ("trtllm", "tp_size", "--tp"),
        ("sglang", "mem-fraction-static", "--gpu-memory-utilization"),
        ("transformers", "dtype", "--dtype"),
        ("reference", "max-model-len", "--max-model-len"),
    ],
)
def test_10_an_argument_with_an_option_of_its_own_is_refused_since_the_plan_would_not_know(
    engine: EngineName, key: str, option: str
) -> None:
    name = "reference" if engine == "reference" else "qwen3-32b"
    asked = serving(name, engine_args=((key, "1"),))
    plan = reference_plan() if engine == "reference" else planned("qwen3-32b", engine)

    with pytest.raises(EngineRefusalError, match=f"--engine-arg {key}: use {option}"):
        command(plan, asked, container(engine, name))


@pytest.mark.parametrize(
    ("engine", "key"), [("vllm", "pipeline_parallel_size"), ("vllm", "data-parallel-size"), ("sglang", "pp-size")]
)
def test_10_parallelism_that_is_not_planned_is_refused_with_what_there_is(engine: EngineName, key: str) -> None:
    asked = serving("qwen3-32b", engine_args=((key, "2"),))

    with pytest.raises(
        EngineRefusalError, match=f"--engine-arg {key}: planned are servers of one node.* used by its URL"
    ):
        command(planned("qwen3-32b", engine), asked, here())


def test_10_a_config_of_ones_own_does_not_push_aside_what_was_planned() -> None:
    plan = planned("qwen3-32b", "trtllm", kv_dtype="fp8")
    asked = serving("qwen3-32b", engine_args=(("config", "/mine.yaml"),))
    place = container("trtllm", "qwen3-32b")

    with pytest.raises(EngineRefusalError, match="--kv-cache-dtype: it is written into a file for --config"):
        command(plan, asked, place)
    assert value_of(command(planned("qwen3-32b", "trtllm"), asked, place).argv, "--config") == "/mine.yaml"


def test_every_reason_is_given_at_once() -> None:
    plan = planned("qwen3-32b", "trtllm", dtype="float8", length=65_536, kv_dtype="bfloat16")

    with pytest.raises(EngineRefusalError) as refused:
        command(plan, serving("qwen3-32b", deterministic=True), here())

    assert [line.partition(":")[0] for line in str(refused.value).splitlines()[1:]] == [
        "- --dtype float8 does not exist",
        "- --max-model-len 65536",
        "- Qwen/Qwen3-32B",
        "- --deterministic",
        "- --kv-cache-dtype bfloat16",
    ]
