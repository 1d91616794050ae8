"""Compose files for model servers: what `inference compose` writes, and what it refuses."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st

from services.inference.cli import main
from services.inference.failures import InferenceError
from services.inference.launchers.compose_file import ComposeFile, Service, check, render


def compose(*options: str) -> Result:
    return CliRunner().invoke(main, ["compose", *options])


@cache  # every file is checked by docker where it is, which takes a third of a second
def written(*options: str) -> dict[str, Any]:
    """The file, as YAML gives it back."""
    result = compose(*options, "-o", "-")
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = yaml.safe_load(result.stdout)
    return content


def devices(service: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service["deploy"]["resources"]["reservations"]["devices"]
    return found


FOUR = ("qwen3-32b", "--engine", "vllm", "--gpu", "h100-80", "--gpu-ids", "0", "1", "2", "3", "--num-servers", "2")


def test_each_replica_names_its_own_gpus_and_none_is_given_by_count() -> None:
    services = written(*FOUR)["services"]

    assert list(services) == ["fetch", "vllm-0", "vllm-1"]
    assert devices(services["vllm-0"]) == [{"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}]
    assert devices(services["vllm-1"]) == [{"driver": "nvidia", "device_ids": ["2", "3"], "capabilities": ["gpu"]}]
    assert [services[name]["profiles"] for name in services] == [["vllm"]] * 3
    assert "CUDA_VISIBLE_DEVICES" not in services["vllm-0"]["environment"]


def test_the_same_request_gives_the_same_text() -> None:
    assert compose(*FOUR, "-o", "-").output == compose(*FOUR, "-o", "-").output


def test_a_file_is_written_where_it_is_said_and_read_back_by_its_schema(tmp_path: Path) -> None:
    place = tmp_path / "new" / "mine.yaml"

    result = compose(*FOUR, "-o", str(place), "--json")

    facts = json.loads(result.output)
    assert (facts["file"], facts["services"]) == (str(place), 2)
    assert facts["urls"] == ["http://vllm-0.models:8000/v1", "http://vllm-1.models:8000/v1"]
    check(place.read_text(encoding="utf-8"))


def test_replicas_differ_in_seed_name_and_gpus_only() -> None:
    services = written(*FOUR)["services"]
    first, second = services["vllm-0"], services["vllm-1"]

    differing = {key for key in first if first[key] != second[key]}

    assert differing == {"command", "networks", "deploy"}
    assert [a for a, b in zip(first["command"], second["command"], strict=True) if a != b] == ["1"]


def test_the_engine_has_no_way_out_and_the_step_that_fetches_has() -> None:
    content = written(*FOUR)

    assert list(content["services"]["vllm-0"]["networks"]) == ["models"]
    assert content["networks"]["models"]["internal"] is True
    assert list(content["services"]["fetch"]["networks"]) == ["fetch"]
    assert content["networks"]["fetch"] == {}
    assert content["services"]["vllm-0"]["environment"]["HF_HUB_OFFLINE"] == "1"
    assert content["services"]["vllm-0"]["depends_on"] == {"fetch": {"condition": "service_completed_successfully"}}
    assert "ports" not in content["services"]["vllm-0"]


def test_nothing_is_privileged_and_no_network_is_the_hosts() -> None:
    text = compose(*FOUR, "--router", "--publish", "127.0.0.1:8000", "-o", "-").output

    assert "privileged: true" not in text
    assert "network_mode" not in text
    assert text.count("no-new-privileges:true") == 4


def test_secrets_are_files_and_each_service_gets_its_own() -> None:
    content = written(*FOUR)

    assert content["secrets"] == {
        "hf_token": {"file": "${HF_TOKEN_FILE:-/dev/null}"},
        "engine_key": {"file": "${ENGINE_KEY_FILE:-/dev/null}"},
    }
    assert content["services"]["fetch"]["secrets"] == ["hf_token"]
    assert content["services"]["vllm-0"]["secrets"] == ["engine_key"]
    assert content["services"]["vllm-0"]["entrypoint"][2] == (
        'export VLLM_API_KEY="$$(cat /run/secrets/engine_key)"; exec "$$@"'
    )


@pytest.mark.parametrize(
    ("model", "gpu", "seconds"),
    [("qwen3-32b", "h200-141", "453s"), ("qwen3-235b", "h100-80", "1395s"), ("deepseek-v3", "h200-141", "1867s")],
)
def test_health_may_fail_as_long_as_weights_of_this_size_are_read(model: str, gpu: str, seconds: str) -> None:
    health = written(model, "--gpu", gpu, "--count", "8", "--num-servers", "1")["services"]["vllm-0"]["healthcheck"]

    assert {key: health[key] for key in ("interval", "timeout", "retries", "start_period")} == {
        "interval": "10s",
        "timeout": "5s",
        "retries": 6,
        "start_period": seconds,
    }


def test_shared_memory_is_its_own_or_the_hosts_never_both() -> None:
    own, hosts = (written(*FOUR, *more)["services"]["vllm-0"] for more in ((), ("--ipc-host",)))

    assert (own["shm_size"], own.get("ipc")) == ("16gb", None)
    assert (hosts.get("shm_size"), hosts["ipc"]) == (None, "host")
    assert own["ulimits"] == {"memlock": -1, "stack": 67108864}
    assert (own["restart"], own["stop_grace_period"]) == ("no", "60s")


def test_published_replicas_have_ports_in_turn_and_a_second_network_without_translation() -> None:
    content = written(*FOUR, "--publish", "127.0.0.1:9000")

    assert [content["services"][f"vllm-{index}"]["ports"] for index in (0, 1)] == [
        ["127.0.0.1:9000:8000"],
        ["127.0.0.1:9001:8000"],
    ]
    masquerade = "com.docker.network.bridge.enable_ip_masquerade"
    assert content["networks"]["published"]["driver_opts"] == {masquerade: "false"}


def test_with_a_router_only_the_router_is_published_and_it_owns_no_retries() -> None:
    services = written(*FOUR, "--router", "--publish", "127.0.0.1:9000")["services"]

    assert services["router"]["ports"] == ["127.0.0.1:9000:8000"]
    assert "ports" not in services["vllm-0"]
    assert services["router"]["profiles"] == ["router"]
    assert services["router"]["command"] == [
        *("--worker-urls", "http://vllm-0.models:8000", "http://vllm-1.models:8000", "--policy", "cache_aware"),
        *("--disable-retries", "--disable-circuit-breaker", "--request-timeout-secs", "3600"),
        *("--host", "0.0.0.0", "--port", "8000"),
    ]


def test_a_consumer_waits_without_requiring_and_learns_every_address() -> None:
    consumer = written(*FOUR, "--consumer", "purple")["services"]["purple"]

    assert consumer == {
        "environment": {
            "OPENAI_BASE_URL": "http://vllm-0.models:8000/v1",
            "LLM_MODEL": "qwen3-32b",
            "OPENAI_API_BASE": "http://vllm-0.models:8000/v1,http://vllm-1.models:8000/v1",
        },
        "depends_on": {"vllm-0": {"condition": "service_healthy", "required": False}},
    }


def test_an_engine_that_takes_folders_gets_one_and_its_config_is_in_the_file() -> None:
    options = ("--engine", "trtllm", "--gpu", "b200-192", "--gpu-ids", "0", "1", "2", "3", "--kv-cache-dtype", "fp8")
    content = written("deepseek-v3.2-nvfp4", *options)
    replica = content["services"]["trtllm-0"]

    assert replica["command"][:2] == ["trtllm-serve", "/models/weights/deepseek-v3.2-nvfp4"]
    assert content["services"]["fetch"]["command"][-1] == "/models/weights/deepseek-v3.2-nvfp4"
    assert replica["configs"] == [{"source": "trtllm-0--trtllm.yaml", "target": "/run/assay/trtllm.yaml"}]
    assert yaml.safe_load(content["configs"]["trtllm-0--trtllm.yaml"]["content"]) == {
        "kv_cache_config": {"dtype": "fp8"}
    }
    assert "secrets" not in replica


def test_a_local_checkpoint_is_mounted_and_nothing_is_fetched(tmp_path: Path) -> None:
    config = {
        "model_type": "qwen3",
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 512,
    }
    more = {"num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 256, "max_position_embeddings": 2048}
    place = tmp_path / "cost$5:a b"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config | more))
    (place / "model.safetensors").write_bytes(b"0" * 1000)

    options = ("--gpu", "h100-80", "--tool-call-parser", "hermes", "--model-name", "mine")
    services = written(str(place), *options)["services"]

    assert list(services) == ["vllm-0"]
    assert services["vllm-0"]["volumes"] == [
        "hf-cache:/models",
        {"type": "bind", "source": f"{tmp_path}/cost$$5:a b", "target": "/models/local/mine", "read_only": True},
    ]
    assert services["vllm-0"]["command"][2] == "/models/local/mine"


def test_the_reference_engine_needs_no_gpu_no_weights_and_no_network() -> None:
    content = written("reference", "--num-servers", "2")

    assert list(content["services"]) == ["reference-0", "reference-1"]
    assert "deploy" not in content["services"]["reference-0"]
    assert content["services"]["reference-0"]["read_only"] is True
    assert {"volumes", "secrets"} & set(content) == set()


def test_on_a_machine_without_gpus_it_is_said_what_was_planned_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    result = compose("qwen3-32b", "--gpu-ids", "0", "1", "2", "3", "--num-servers", "2", "-o", "-")

    assert result.exit_code == 0
    assert "planned for h100-80; --gpu KIND names another" in result.stderr


def test_without_docker_the_schema_checks_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    facts = json.loads(compose(*FOUR, "-o", str(tmp_path / "vllm.yaml"), "--json").stdout)

    assert facts["checked_by"] == "its schema"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("deepseek-v3", "--gpu", "h100-80", "--count", "8"), 3, "--force writes it all the same"),
        (("qwen3-32b", "--gpu", "h200-141", "--publish", "8000"), 2, "--publish takes ADDRESS:PORT"),
        (("qwen3-32b", "--gpu", "h200-141", "--publish", "127.0.0.1:70000"), 2, "--publish takes ADDRESS:PORT"),
        (("qwen3-32b", "--gpu", "h200-141", "--publish", "${HOME}:80"), 2, "--publish takes ADDRESS:PORT"),
        (("qwen3-32b", "--gpu", "h200-141", "--consumer", "vllm-0"), 2, "no name of a service of another file"),
        (("qwen3-32b", "--gpu", "h200-141", "--consumer", "fetch"), 2, "no name of a service of another file"),
        (("qwen3-32b", "--gpu", "h200-141", "--consumer", "a b;$x"), 2, "no name of a service of another file"),
        (("qwen3-32b", "--gpu", "h200-141", "--engine", "transformers"), 2, "no image is known for transformers"),
        (("qwen3-32b-awq", "--gpu", "cpu", "--force"), 2, "a CPU build runs with"),
        (("qwen3-32b", "--gpu", "h200-141", "--gpu-ids", "0", "0"), 2, "named twice"),
        (("qwen3-32b", "--gpu", "h200-141", "--gpu-ids", "0", "--num-servers", "2"), 2, "--num-servers 2 with 1 GPUs"),
        (("mixtral-8x22b", "--gpu", "h200-141", "--count", "4", "--engine", "trtllm"), 3, "no tool parser of trtllm"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(options: tuple[str, ...], code: int, says: str) -> None:
    result = compose(*options, "-o", "-")

    assert (result.exit_code, says in result.output) == (code, True), result.output


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = compose(*FOUR, "-o", str(tmp_path / "file" / "x.yaml"))

    assert (result.exit_code, f"--output: cannot write {tmp_path}/file/x.yaml: " in result.output) == (2, True)


HOSTILE = (
    *(
        "1e3",
        "0o17",
        "12e4567",
        "+.5e1",
        "0x1F",
        "yes",
        "null",
        "~",
        "$HOME ${X:-y} $(id)",
        "a: b # c",
        "- x",
        "{a: [b",
    ),
    *("*a", "&a", "'; rm -rf / #", '"q"', "two\nlines: x\n- y", " blanks ", "\ttab"),
)


def test_values_reach_the_container_as_they_were_typed() -> None:
    arguments = [word for number, text in enumerate(HOSTILE) for word in ("--engine-arg", f"x{number}={text}")]
    options = ("--model-name", "0o17", "--revision", "1e3", *arguments)

    result = compose(*FOUR, *options, "-o", "-")  # docker, where it is, reads YAML 1.2 and refuses a number as a word

    services = yaml.safe_load(result.stdout)["services"]
    words = services["vllm-0"]["command"]
    assert services["fetch"]["command"][4] == "1e3"
    assert (words[4], words[6], services["vllm-0"]["labels"]["assay.model"]) == ("1e3", "0o17", "0o17")
    assert words[-2 * len(HOSTILE) + 1 :: 2] == [text.replace("$", "$$") for text in HOSTILE]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.from_regex(
    r"[-+.0-9exob_:]{1,8}", fullmatch=True
)


@given(words=st.lists(TEXTS, max_size=4), key=TEXTS)
@example(words=["a\x85b\n", "\u2028"], key="\x85")
@example(words=["1e3", "0o17", "1:30", ".inf", "2001-01-01"], key="=")
def test_whatever_words_a_file_holds_come_back_and_no_plain_one_is_a_number(words: list[str], key: str) -> None:
    file = ComposeFile(name="x", services={"a": Service(command=tuple(words), labels={"k": key})}, networks={})

    text = render(file, comment=f"about {key}\n{key}")

    try:
        read = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:  # YAML cannot hold some characters, not even in a comment; the file is then refused
        with pytest.raises(InferenceError, match="would be wrong"):
            check(text)
        return
    assert read["services"]["a"].get("command", []) == words
    assert read["services"]["a"]["labels"] == {"k": key}
    assert not re.search(r"^ +- [0-9+.]", text, re.MULTILINE)


def test_gpus_that_are_left_over_are_named() -> None:
    result = compose("qwen3-32b", "--gpu", "h200-141", "--gpu-ids", "4", "5", "6", "--num-servers", "2", "-o", "-")

    assert "not used: GPU 6" in result.stderr
    services = yaml.safe_load(result.stdout)["services"]
    assert [devices(services[name])[0]["device_ids"] for name in ("vllm-0", "vllm-1")] == [["4"], ["5"]]


@pytest.mark.parametrize(
    ("options", "count"), [(("--num-servers", "20"), 8), (("--count", "16"), 8), (("--num-servers", "3"), 3)]
)
def test_one_machine_has_no_more_gpus_than_a_node(options: tuple[str, ...], count: int) -> None:
    result = compose("qwen3-32b", "--gpu", "h200-141", "--tp", "1", *options, "-o", "-")

    services = yaml.safe_load(result.stdout)["services"]
    assert [devices(services[name])[0]["device_ids"] for name in services if name != "fetch"] == [
        [str(index)] for index in range(count)
    ]
    assert ("8 GPUs hold 8 servers of TP 1, not 20" in result.stderr) == ("20" in options)


@pytest.mark.parametrize("text", ["services: [", "name: x\nservices: {a: {privileged: true}}\nnetworks: {}\n"])
def test_a_text_that_is_no_such_file_fails_the_check(text: str) -> None:
    with pytest.raises(InferenceError, match="would be wrong"):
        check(text)
