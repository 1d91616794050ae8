from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.endpoint_files import (
    Address,
    EndpointFileError,
    ModelConfig,
    ServiceLine,
    parse_line,
    parse_services,
    read_model_config,
    replace_text,
    same_model,
    urls_of_file,
    write_model_config,
)

GUIDES = """# JOB_ID|HOSTNAME|HOST_IP|PORT|MODEL_PATH|START_TIME|STATUS
JOB_ID|HOSTNAME|HOST_IP|PORT|MODEL_PATH|START_TIME|STATUS
4711|gpu-01|10.0.0.5|8000|Qwen/Qwen3-32B|2026-02-03 10:00:00|running
4712|gpu-02|10.0.0.6|8001|Qwen/Qwen3-32B|1770112800|stopped|2026-02-03 11:00:00|1
too|short|line

4713|gpu-03|fd00::7|8002|Qwen/Qwen3-32B|2026-02-03 10:00:00|running
"""
WORDS = st.text(st.characters(blacklist_characters="|\n\r", blacklist_categories=["Cs"]), max_size=12).map(str.strip)
NAMES = WORDS.filter(lambda text: bool(text) and not text.startswith("#"))
HOSTS = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True) | st.ip_addresses().map(str)
LINES = st.builds(
    ServiceLine,
    job_id=NAMES,
    hostname=HOSTS,
    host_ip=HOSTS,
    port=st.integers(1, 65535),
    model_path=WORDS,
    start_time=WORDS,
    status=NAMES,
    end_time=WORDS,
    exit_code=WORDS,
)


def test_comments_headers_and_short_lines_are_no_services() -> None:
    services = parse_services(GUIDES)

    assert [line.job_id for line in services] == ["4711", "4712", "4713"]
    assert [line.url for line in services] == [
        "http://10.0.0.5:8000/v1",
        "http://10.0.0.6:8001/v1",
        "http://[fd00::7]:8002/v1",
    ]
    assert (services[1].status, services[1].end_time, services[1].exit_code) == ("stopped", "2026-02-03 11:00:00", "1")


@given(line=LINES)
def test_a_line_is_read_as_it_was_written(line: ServiceLine) -> None:
    assert parse_line(line.render()) == line


@given(text=st.text())
def test_whatever_a_line_holds_is_a_service_or_is_ignored(text: str) -> None:
    line = parse_line(text)

    assert line is None or 1 <= line.port <= 65535


@pytest.mark.parametrize(
    "host",
    [
        "",
        "$(id)",
        "a,http://b",
        "a/b",
        "u@h",
        "a b",
        "[a:b",
        "a?x",
        "a#x",
        "é",
        "a\x1bb",
        "a\\b",
        "x" * 300,
        "127.0.0.1:80",
    ],
)
def test_what_is_no_host_is_no_service(host: str, tmp_path: Path) -> None:
    line = ServiceLine(job_id="1", hostname="", host_ip=host, port=1, model_path="m", start_time="0", status="running")

    assert parse_line(f"1||{host}|1|m|0|running") is None
    with pytest.raises(EndpointFileError, match="cannot hold"):
        line.render()
    (tmp_path / "models.json").write_text(json.dumps({"m": [{"ip_addr": host, "port": 1}]}))
    with pytest.raises(EndpointFileError, match=r"0\.ip_addr"):
        read_model_config(tmp_path / "models.json")


@pytest.mark.parametrize("field", ["job_id", "hostname", "model_path", "status", "exit_code"])
@pytest.mark.parametrize("mark", ["|", "\n", "\r"])
def test_a_field_that_would_break_the_line_is_refused(field: str, mark: str) -> None:
    values = {"job_id": "1", "hostname": "h", "model_path": "m", "status": "running", "exit_code": "0"}
    values[field] = f"a{mark}b"
    line = ServiceLine(host_ip="127.0.0.1", port=1, start_time="0", **values)

    with pytest.raises(EndpointFileError, match="cannot hold"):
        line.render()


def test_a_model_config_is_read_with_any_hosts_and_both_kinds_of_port(tmp_path: Path) -> None:
    path = tmp_path / "model_config_local.json"
    path.write_text(
        json.dumps(
            {
                "/models/orchestrator": [
                    {"ip_addr": "127.0.0.1", "port": "1900"},
                    {"ip_addr": "10.1.2.3", "port": 1901},
                ],
                "Qwen/Qwen3-32B": [{"ip_addr": "gpu.example", "port": 8000, "gpu": 3}],
                "vllm_model_config_path": "model_config_local.json",
            }
        )
    )

    assert urls_of_file(path, "/models/orchestrator") == ("http://127.0.0.1:1900/v1", "http://10.1.2.3:1901/v1")
    assert urls_of_file(path, "orchestrator") == ("http://127.0.0.1:1900/v1", "http://10.1.2.3:1901/v1")
    assert urls_of_file(path, "Qwen3-32B") == ("http://gpu.example:8000/v1",)
    with pytest.raises(EndpointFileError, match=r"no 'llama'; it lists '/models/orchestrator', 'Qwen/Qwen3-32B'"):
        urls_of_file(path, "llama")
    with pytest.raises(EndpointFileError, match="no model was asked for; it lists"):
        urls_of_file(path, None)


def test_a_name_that_several_keys_share_is_not_guessed() -> None:
    address = (Address(ip_addr="127.0.0.1", port=1),)
    config = ModelConfig(models={"/a/orch": address, "/b/orch": address})

    assert config.find("/b/orch", where="F").model == "/b/orch"
    with pytest.raises(EndpointFileError, match="'orch' could be several; it lists '/a/orch', '/b/orch'"):
        config.find("orch", where="F")


def test_the_sole_key_is_taken_with_a_notice() -> None:
    config = ModelConfig(models={"/a/orch": (Address(ip_addr="127.0.0.1", port=1),)})

    found = config.find("qwen3-32b", where="F")

    assert (found.model, found.urls) == ("/a/orch", ("http://127.0.0.1:1/v1",))
    assert found.notice == "F names only '/a/orch'; its servers are used for 'qwen3-32b'"
    assert not config.find(None, where="F").notice
    assert not config.find("orch", where="F").notice


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "expected a JSON object"),
        ("{", "Invalid JSON"),
        ('{"m": []}', "servers of 'm'"),
        ('{"m": [{"ip_addr": "h", "port": "eighty"}]}', r"0\.port"),
        ('{"m": [{"ip_addr": "h", "port": 70000}]}', r"0\.port"),
        ('{"m": [{"port": 1}]}', r"0\.ip_addr"),
        ('{"vllm_model_config_path": 3}', "must be text"),
        ('{"vllm_model_config_path": "x"}', "no model at all"),
    ],
)
def test_a_broken_model_config_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)

    with pytest.raises(EndpointFileError, match=words) as caught:
        read_model_config(path).find("m", where=str(path))
    assert str(path) in str(caught.value)


def test_a_model_config_is_written_with_ports_as_strings_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config = ModelConfig(models={"M m": (Address(ip_addr="::1", port=8000),)}, config_path=str(path))

    write_model_config(path, config)

    assert json.loads(path.read_text()) == {
        "M m": [{"ip_addr": "::1", "port": "8000"}],
        "vllm_model_config_path": str(path),
    }
    assert read_model_config(path) == config
    assert urls_of_file(path, "M m") == ("http://[::1]:8000/v1",)


def test_only_running_services_of_the_model_count(tmp_path: Path) -> None:
    path = tmp_path / "services.txt"
    path.write_text(f"{GUIDES}4714|gpu-04|10.0.0.9|8002|/ckpt/other|0|running\n")

    assert urls_of_file(path, "Qwen3-32B") == (
        "http://10.0.0.5:8000/v1",
        "http://[fd00::7]:8002/v1",
    )
    assert urls_of_file(path, "/ckpt/other") == ("http://10.0.0.9:8002/v1",)
    with pytest.raises(EndpointFileError, match="it lists '/ckpt/other', 'Qwen/Qwen3-32B'"):
        urls_of_file(path, "llama")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no service"),
        (
            "1|h|127.0.0.1|1|m|0|stopped||lost\n2|h|127.0.0.1|1|m|0|starting\n",
            "2 services, all of them starting, stopped",
        ),
    ],
)
def test_a_stale_registry_is_an_error_not_an_empty_list(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "services.txt"
    path.write_text(content)

    with pytest.raises(EndpointFileError, match=words):
        urls_of_file(path, "m")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EndpointFileError, match="nowhere: No such file"):
        urls_of_file(tmp_path / "nowhere", "m")


def test_writing_keeps_permissions_links_and_foreign_bytes(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)

    replace_text(link, b"caf\xe9".decode("utf-8", "surrogateescape"))

    assert link.is_symlink()
    assert real.read_bytes() == b"caf\xe9"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


@pytest.mark.parametrize(
    ("asked", "known", "same"),
    [
        ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B", True),
        ("Qwen3-32B", "Qwen/Qwen3-32B", True),
        ("/ckpt/orch/", "orch", True),
        ("/a/orch", "/b/orch", False),
        ("orch", "/b/orch-2", False),
        ("", "/b/", False),
    ],
)
def test_the_last_part_of_a_path_names_the_same_model(asked: str, known: str, same: bool) -> None:  # noqa: FBT001
    assert same_model(asked, known) is same
    assert same_model(known, asked) is same


def test_the_module_is_light() -> None:
    code = "import sys, services.contract.endpoint_files; print(*{'httpx', 'openai', 'a2a', 'yaml'} & set(sys.modules))"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
