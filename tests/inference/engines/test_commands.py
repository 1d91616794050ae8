"""What a command holds besides the flags of the golden files: environment, keys, adapters, CPU builds, modes."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.inference.engines.base import Adapter, Command, EngineRefusalError, Serving
from services.inference.engines.flags import fraction, named, tokens
from services.inference.engines.reference import reference_plan
from services.inference.engines.registry import engine
from services.inference.engines.transformers import by_hand
from services.inference.planning.planner import Request, judged
from services.inference.planning.presets import REFERENCE, EngineName, Hardware, Preset
from tests.inference.engines.launches import command, container, here, planned, preset, serving, value_of

CPU = Hardware(key="cpu", gib=16.0, cc="", per_node=8)
ADAPTERS = (
    Adapter(name="a", path=Path("/lora/a"), rank=16, gib=0.1),
    Adapter(name="b", path=Path("/lora/b"), rank=64, gib=0.2),
)


def tiny(folder: str = "/checkpoints/tiny") -> Preset:
    """A checkpoint as small as that of the engine tests, in a folder, of a family that is known."""
    big = preset("qwen3-32b")
    sizes = {"layers": 2, "kv_layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 32, "hidden": 128, "vocab": 512}
    params = big.params.model_copy(update={"total": 361_216, "active": 361_216})
    shape = big.shape.model_copy(update=sizes)
    return big.model_copy(update={"key": "tiny", "id": folder, "shape": shape, "params": params})


def on_cpu(**asked: object) -> Command:
    plan = judged(Request(preset=tiny(), gpu=CPU, count=1, tp=1, max_model_len=2048))
    return command(plan, Serving(served_name="tiny", thinking=False), here(cpu=True, **asked))


@pytest.mark.parametrize("name", ["vllm", "trtllm", "sglang"])
def test_an_engine_with_fetched_weights_stays_offline_and_reports_to_nobody(name: EngineName) -> None:
    env = command(
        planned("qwen3-32b", name), serving("qwen3-32b"), container(name, "qwen3-32b", cache="/models/hf")
    ).env

    assert env == {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HOME": "/models/hf",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


def test_an_engine_without_fetched_weights_may_download() -> None:
    asked = command(planned("qwen3-32b"), Serving(served_name="qwen3-32b"), here())

    assert "HF_HUB_OFFLINE" not in asked.env
    assert "--revision" not in asked.argv


def test_the_presets_own_revision_is_passed_on() -> None:
    pinned = preset("qwen3-32b").model_copy(update={"revision": "abc"})

    argv = command(planned("qwen3-32b", preset=pinned), Serving(served_name="x"), here()).argv

    assert value_of(argv, "--revision") == "abc"


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_fetched_weights_are_loaded_from_their_folder_without_a_revision(name: EngineName) -> None:
    argv = command(planned("qwen3-32b", name), serving("qwen3-32b"), here(weights="/hub/snapshots/REV")).argv

    assert "/hub/snapshots/REV" in argv
    assert {"Qwen/Qwen3-32B", "--revision"}.isdisjoint(argv)


def test_gpus_are_named_by_uuid_and_only_for_processes_of_this_machine() -> None:
    local = command(planned("qwen3-32b", tp=2), serving("qwen3-32b"), here(gpus=("GPU-aa", "GPU-bb")))
    contained = command(planned("qwen3-32b", tp=2), serving("qwen3-32b"), container("vllm", "qwen3-32b"))

    assert local.env["CUDA_VISIBLE_DEVICES"] == "GPU-aa,GPU-bb"
    assert "CUDA_VISIBLE_DEVICES" not in contained.env


@pytest.mark.parametrize(("name", "flag"), [("vllm", "--seed"), ("sglang", "--random-seed")])
def test_each_replica_has_a_seed_of_its_own(name: EngineName, flag: str) -> None:
    plan = planned("qwen3-32b", name)

    seeds = [value_of(command(plan, serving("qwen3-32b"), here(index=index)).argv, flag) for index in range(3)]

    assert seeds == ["1", "2", "3"]


def test_a_key_is_a_file_and_never_a_word_or_a_value() -> None:
    asked = command(planned("qwen3-32b"), serving("qwen3-32b"), here(key_file="/run/secrets/engine_key"))

    assert asked.secrets == {"VLLM_API_KEY": "/run/secrets/engine_key"}
    assert "VLLM_API_KEY" not in asked.env
    assert not any("key" in word for word in asked.argv)


@pytest.mark.parametrize("name", ["trtllm", "sglang", "transformers", "reference"])
def test_an_engine_that_would_show_its_key_takes_none(name: EngineName) -> None:
    plan = reference_plan() if name == "reference" else planned("qwen3-32b", name)
    asked = serving(plan.request.preset.key)

    assert not engine(name).takes_key
    with pytest.raises(EngineRefusalError, match="cannot demand a key without showing it: bind it to loopback"):
        command(plan, asked, container(name, "qwen3-32b", key_file="/run/key"))


def test_a_key_among_engine_arguments_is_refused() -> None:
    with pytest.raises(EngineRefusalError, match="everybody sees it in the list of processes; use a key file"):
        command(planned("qwen3-32b"), serving("qwen3-32b", engine_args=(("api-key", "x"),)), here())


def test_vllm_serves_adapters_by_name_at_the_highest_rank() -> None:
    argv = command(planned("qwen3-32b"), serving("qwen3-32b", adapters=ADAPTERS), here()).argv

    assert argv[argv.index("--enable-lora") :] == (
        *("--enable-lora", "--lora-modules", "a=/lora/a", "b=/lora/b", "--max-lora-rank", "64"),
    )


def test_sglang_serves_adapters_by_name() -> None:
    argv = command(planned("qwen3-32b", "sglang"), serving("qwen3-32b", adapters=ADAPTERS), here()).argv

    assert argv[-4:] == ("--enable-lora", "--lora-paths", "a=/lora/a", "b=/lora/b")


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_an_adapter_does_not_take_the_name_of_the_base_model(name: EngineName) -> None:
    with pytest.raises(EngineRefusalError, match="--lora b: that is the served name of the base model"):
        command(planned("qwen3-32b", name), serving("b", adapters=ADAPTERS), here())


def test_a_plan_on_the_cpu_that_was_forced_gets_a_cache_that_an_engine_can_start_with() -> None:
    plan = judged(Request(preset=preset("qwen3-14b"), gpu=CPU, count=1, tp=1))

    argv = command(plan, Serving(served_name="x"), here(cpu=True)).argv

    assert plan.verdict == "impossible"
    assert value_of(argv, "--kv-cache-memory-bytes") == "64M"


def test_batch_invariant_mode_is_a_variable_in_vllm_and_a_flag_in_sglang() -> None:
    asked = serving("qwen3-32b", deterministic=True)
    plain = serving("qwen3-32b")

    assert command(planned("qwen3-32b"), asked, here()).env["VLLM_BATCH_INVARIANT"] == "1"
    assert "VLLM_BATCH_INVARIANT" not in command(planned("qwen3-32b"), plain, here()).env
    assert "--enable-deterministic-inference" in command(planned("qwen3-32b", "sglang"), asked, here()).argv
    assert "--enable-deterministic-inference" not in command(planned("qwen3-32b", "sglang"), plain, here()).argv


def test_batch_invariant_mode_needs_newer_gpus_than_turing() -> None:
    plan = planned("qwen3-32b")
    turing = replace(plan.request, gpu=Hardware(key="t4-16", gib=15.0, cc="7.5", per_node=8))

    with pytest.raises(EngineRefusalError, match=r"need GPUs of compute capability 8\.0 or newer"):
        command(replace(plan, request=turing), serving("qwen3-32b", deterministic=True), here())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"deterministic": True}, "TensorRT-LLM has no batch-invariant mode"),
        ({"adapters": ADAPTERS}, "an adapter is no model of its own here"),
        ({"rope_scaling": "yarn:2.0"}, "reads it from the checkpoint's config.json only"),
    ],
)
def test_tensorrt_refuses_what_it_does_not_have(asked: dict[str, object], said: str) -> None:
    with pytest.raises(EngineRefusalError, match=said):
        command(planned("qwen3-32b", "trtllm"), serving("qwen3-32b", **asked), container("trtllm", "qwen3-32b"))


def test_tensorrt_serves_under_the_folders_name_and_takes_nothing_but_a_folder() -> None:
    plan = planned("qwen3-32b", "trtllm")

    with pytest.raises(EngineRefusalError, match="pins a revision only as a local folder"):
        command(plan, serving("qwen3-32b"), here())
    with pytest.raises(
        EngineRefusalError, match="would be served as snapshot, not as qwen3-32b: --model-name snapshot"
    ):
        command(plan, serving("qwen3-32b"), here(weights="/models/snapshot"))
    named_by_flag = serving("qwen3-32b", engine_args=(("served_model_name", "qwen3-32b"),))
    assert command(plan, named_by_flag, here(weights="/models/snapshot")).argv[-2:] == (
        "--served_model_name",
        "qwen3-32b",
    )


def test_tensorrt_takes_the_dtype_of_its_cache_from_a_file() -> None:
    asked = command(
        planned("qwen3-32b", "trtllm", kv_dtype="fp8"), serving("qwen3-32b"), container("trtllm", "qwen3-32b")
    )

    assert asked.argv[-2:] == ("--config", "{folder}/trtllm.yaml")
    assert asked.files == {"trtllm.yaml": "kv_cache_config:\n  dtype: fp8\n"}


@pytest.mark.parametrize(("name", "value"), [("vllm", "fp8"), ("sglang", "fp8_e4m3")])
def test_the_dtype_of_the_cache_has_a_flag_elsewhere(name: EngineName, value: str) -> None:
    asked = command(planned("qwen3-32b", name, kv_dtype="fp8"), serving("qwen3-32b"), here())

    assert value_of(asked.argv, "--kv-cache-dtype") == value
    assert asked.files == {}


@pytest.mark.parametrize(
    ("gpu", "part"), [("h100-80", "0.90"), ("rtx3090-24", "0.83"), ("a100-40", "0.89"), ("a6000-48", "0.90")]
)
def test_sglangs_part_leaves_room_for_the_overhead(gpu: str, part: str) -> None:
    argv = command(planned("qwen3-14b", "sglang", gpu=gpu, tp=2), serving("qwen3-14b"), here()).argv

    assert value_of(argv, "--mem-fraction-static") == part


@given(part=st.floats(0.05, 1.0))
@example(part=0.905)
@example(part=0.9)
def test_the_part_of_the_memory_that_is_sent_is_the_one_that_was_planned(part: float) -> None:
    plan = planned("qwen3-14b", tp=2, utilization=part)
    sglang = planned("qwen3-14b", "sglang", gpu="a100-40", tp=2, utilization=part)

    sent = value_of(command(plan, serving("qwen3-14b"), here()).argv, "--gpu-memory-utilization") or ""
    fixed = value_of(command(sglang, serving("qwen3-14b"), here()).argv, "--mem-fraction-static") or ""

    assert float(sent) * 79.2 == plan.memory.ceiling_gib
    assert float(fixed) * 39.4 == sglang.memory.ceiling_gib
    assert len(fraction(0.9)) == len("0.90")


def test_a_model_that_needs_a_template_is_refused_where_there_is_none() -> None:
    plan = planned("llama-3.1-70b", tp=4)

    with pytest.raises(EngineRefusalError, match=r"needs the chat template tool_chat_template_llama3\.1_json\.jinja"):
        command(plan, serving("llama-3.1-70b"), here())
    by_hand = serving("llama-3.1-70b", engine_args=(("chat-template", "/x.jinja"),))
    assert value_of(command(plan, by_hand, here()).argv, "--chat-template") == "/x.jinja"


def test_without_tools_there_is_neither_parser_nor_template() -> None:
    plan = planned("llama-3.1-70b", tp=4, tools=False)

    argv = command(plan, serving("llama-3.1-70b"), here()).argv

    assert not any(word.startswith(("--tool", "--enable-auto", "--exclude-tools", "--chat-template")) for word in argv)


def test_mixtral_writes_its_call_ids_with_its_own_tokenizer() -> None:
    argv = command(planned("mixtral-8x22b", tp=8), serving("mixtral-8x22b"), here()).argv

    assert value_of(argv, "--tokenizer-mode") == "mistral"


def test_a_named_parser_stands_in_for_the_presets() -> None:
    asked = serving("qwen3-32b", tool_parser="hermes2", reasoning_parser="other")

    argv = command(planned("qwen3-32b"), asked, here()).argv

    assert (value_of(argv, "--tool-call-parser"), value_of(argv, "--reasoning-parser")) == ("hermes2", "other")


def test_a_cpu_build_of_vllm_gets_the_flags_and_variables_that_were_measured() -> None:
    made = on_cpu(program="/engines/bin/vllm")

    assert made.argv == (
        *("/engines/bin/vllm", "serve", "/checkpoints/tiny", "--served-model-name", "tiny"),
        *("--host", "127.0.0.1", "--port", "8000", "--tensor-parallel-size", "1", "--max-model-len", "2048"),
        *("--max-num-seqs", "8", "--enforce-eager", "--kv-cache-memory-bytes", "64M", "--structured-outputs-config"),
        *('{"backend":"xgrammar","disable_any_whitespace":true}', "--dtype", "bfloat16", "--generation-config", "vllm"),
        *("--seed", "1", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        *("--exclude-tools-when-tool-choice-none", "--reasoning-parser", "qwen3"),
        *("--default-chat-template-kwargs", '{"enable_thinking":false}'),
        *("--enable-prompt-tokens-details", "--enable-request-id-headers"),
    )
    assert made.env == {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }


def test_a_longer_context_on_the_cpu_gets_the_cache_that_was_planned() -> None:
    small = preset("qwen3-14b")
    plan = judged(
        Request(preset=small, gpu=CPU.model_copy(update={"gib": 64.0}), count=1, tp=1, max_model_len=4096, sequences=3)
    )

    argv = command(plan, Serving(served_name="x"), here(cpu=True)).argv

    assert value_of(argv, "--kv-cache-memory-bytes") == "1920M"  # 3 sequences of 4096 tokens of 163,840 bytes
    assert plan.memory.kv_gib_low_overhead == plan.memory.kv_gib_high_overhead == 1.875


@pytest.mark.parametrize("name", ["trtllm", "sglang"])
def test_engines_without_a_cpu_build_say_so(name: EngineName) -> None:
    with pytest.raises(EngineRefusalError, match="no CPU build of this engine: take vllm or transformers"):
        command(planned("qwen3-32b", name), serving("qwen3-32b"), container(name, "qwen3-32b", cpu=True))


def test_transformers_is_not_started_since_its_name_is_not_listed_and_the_line_to_type_is_named() -> None:
    plan = planned("qwen3-32b", "transformers", preset=tiny("/checkpoints/a model"), length=2048)
    place = here(cpu=True, port=8123)

    with pytest.raises(EngineRefusalError) as refused:
        command(plan, Serving(served_name="tiny", thinking=False), place)

    typed, used = str(refused.value).partition("Start it yourself: ")[2].split("\nand use it by its URL: ")
    made = by_hand(plan, Serving(served_name="tiny", thinking=False), place)
    assert shlex.split(typed) == [*(f"{name}={value}" for name, value in made.env.items()), *made.argv]
    assert made.argv == (
        *("transformers", "serve", "/checkpoints/a model", "--host", "127.0.0.1", "--port", "8123", "--device", "cpu"),
        *("--dtype", "bfloat16", "--default-seed", "1", "--chat-template-kwargs", '{"enable_thinking":false}'),
    )
    assert shlex.split(used) == [
        *("inference", "doctor", "http://127.0.0.1:8123", "--engine", "transformers", "--model", "/checkpoints/a model")
    ]


def test_transformers_refuses_what_it_would_ignore() -> None:
    plan = planned("qwen3-32b", "transformers", tp=2, kv_dtype="fp8")

    with pytest.raises(EngineRefusalError) as refused:
        command(plan, serving("qwen3-32b", adapters=ADAPTERS, tool_parser="hermes"), here())

    assert [line.partition(":")[0] for line in str(refused.value).splitlines()[1:]] == [
        "- --lora",
        "- --tool-call-parser",
        "- --kv-cache-dtype",
        "- --tp 2",
    ]


def test_transformers_pins_a_revision_in_the_name_of_the_model() -> None:
    made = by_hand(planned("qwen3-32b", "transformers"), serving("qwen3-32b"), here())

    assert made.argv[2] == "Qwen/Qwen3-32B@REV"


def test_a_folder_that_no_row_describes_takes_a_named_parser_but_no_switch() -> None:
    unknown = tiny().model_copy(
        update={
            "family": "tiny",
            "parsers": {},
            "template": preset("mixtral-8x22b").template,
        }
    )
    plan = planned("qwen3-32b", preset=unknown, tools=False)

    argv = command(plan, Serving(served_name="tiny", reasoning_parser="qwen3"), here()).argv

    assert value_of(argv, "--reasoning-parser") == "qwen3"
    with pytest.raises(EngineRefusalError, match="whether tiny thinks is not known; say --family"):
        command(plan, Serving(served_name="tiny", thinking=False), here())


def test_the_reference_engine_is_the_command_beside_this_python() -> None:
    made = command(
        reference_plan(max_model_len=2048, servers=2),
        Serving(served_name="reference", engine_args=(("fault", "503:times=1"), ("fault", "429:rate=0.5"))),
        here(port=8123),
    )

    assert made.argv == (
        *(str(Path(sys.executable).with_name("inference")), "up", "reference", "--host", "127.0.0.1", "--port", "8123"),
        *("--max-model-len", "2048", "--fault", "503:times=1", "--fault", "429:rate=0.5"),
    )
    assert (made.env, made.secrets, made.files) == ({}, {}, {})


def test_any_number_of_reference_engines_fits() -> None:
    plan = reference_plan(servers=100)

    assert (plan.verdict, plan.replicas, plan.tp, plan.max_model_len) == ("fit", 100, 1, 32_768)
    assert plan.request.preset is REFERENCE
    assert plan.memory.sequences_high_overhead > 1_000


@pytest.mark.parametrize("asked", [{"served_name": "other"}, {"thinking": False}, {"rope_scaling": "yarn:2"}])
def test_the_reference_engine_has_no_model_to_configure(asked: dict[str, object]) -> None:
    with pytest.raises(EngineRefusalError, match="it has no model, and is called 'reference'"):
        command(reference_plan(), Serving(**{"served_name": "reference", **asked}), here())  # type: ignore[arg-type]


def test_the_reference_engine_does_not_pass_for_a_model() -> None:
    with pytest.raises(
        EngineRefusalError, match="it has no model, so that it cannot serve qwen3-32b: inference up ref"
    ):
        command(planned("qwen3-32b", "reference"), serving("qwen3-32b"), here())


FLAG_NAMES = st.from_regex(r"[a-z]{1,4}(-[a-z]{1,4})?", fullmatch=True)


@given(
    flags=st.lists(st.tuples(FLAG_NAMES, st.text("0aZ", min_size=1, max_size=3)), unique_by=lambda flag: flag[0]),
    extra=st.lists(st.tuples(FLAG_NAMES, st.none() | st.text("0aZ", min_size=1, max_size=3))),
)
def test_every_engine_argument_is_passed_and_none_stands_beside_a_flag_it_replaces(
    flags: list[tuple[str, str]], extra: list[tuple[str, str | None]]
) -> None:
    words = tokens(
        [(f"--{name}", value) for name, value in flags], [(key.replace("-", "_"), value) for key, value in extra]
    )

    kept = [name for name, _ in flags if name not in {key for key, _ in extra}]
    assert sorted(named(word) for word in words if word.startswith("--")) == sorted([*kept, *(key for key, _ in extra)])
    assert len(words) == 2 * len(kept) + sum(1 if value is None else 2 for _, value in extra)
