from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.endpoint_files import ServiceLine
from services.inference.launchers.base import State
from services.inference.launchers.registry import launcher_of
from services.inference.servers.registry import ServerFacts
from services.inference.servers.survey import Known, askable, reconciled

STATES = st.sampled_from(["starting", "running", "stopped", "lost", "failed"])
IDS = st.sampled_from(["1", "2_0", "local-1-2", "compose-p-vllm-0", "theirs"])


def line(job_id: str = "1", *, status: str = "running", hostname: str = "here") -> ServiceLine:
    return ServiceLine(
        job_id=job_id,
        hostname=hostname,
        host_ip="127.0.0.1",
        port=8000,
        model_path="Qwen/Qwen3-32B",
        start_time="0",
        status=status,
    )


LINES = st.lists(st.builds(line, IDS, status=st.sampled_from(["starting", "running", "stopped", "draining"])))


@pytest.mark.parametrize(
    ("server_id", "owner"),
    [
        ("local-12-345", "local"),
        ("compose-project-vllm-0", "compose"),
        ("123", "slurm"),
        ("123_45", "slurm"),
        ("slurm-1", None),
        ("local", None),
        ("123_", None),
        ("123 ", None),
        ("k8s-7", None),
        ("", None),
        ("\uff11\uff12", None),
    ],
)
def test_an_id_says_which_launcher_it_belongs_to(server_id: str, owner: str | None) -> None:
    assert launcher_of(server_id) == owner


@pytest.mark.parametrize("state", ["stopped", "lost", "failed"])
@pytest.mark.parametrize("status", ["running", "starting"])
def test_a_stale_line_is_lost(status: str, state: State) -> None:
    (found,) = reconciled([line(status=status)], {"1": state})

    assert found.render().endswith("|stopped||lost")


def test_an_end_that_was_written_is_kept() -> None:
    ended = replace(line(status="stopped"), end_time="5", exit_code="1")

    assert list(reconciled([ended], {"1": "lost"})) == [ended]


@given(lines=LINES, states=st.dictionaries(IDS, STATES))
def test_reconciling_again_changes_nothing_and_touches_only_what_a_launcher_has_seen_end(
    lines: list[ServiceLine], states: dict[str, State]
) -> None:
    once = list(reconciled(lines, states))

    assert list(reconciled(once, states)) == once
    for old, new in zip(lines, once, strict=True):
        ended = states.get(old.job_id) in {"stopped", "lost", "failed"}
        assert (old != new) == (ended and old.status != "stopped")


def test_processes_of_other_machines_and_servers_of_others_are_not_asked_about() -> None:
    lines = [
        line("local-1-2"),
        line("local-3-4", hostname="elsewhere"),
        line("compose-p-s", hostname="elsewhere"),
        line("123_0", hostname="node7"),
        line("124", hostname="node7", status="stopped"),
        line("theirs"),
    ]

    assert askable(lines, ["125"], hostname="here") == {"local": ["local-1-2"], "slurm": ["123_0", "125"]}


def test_a_server_is_found_by_path_last_part_and_served_name() -> None:
    facts = ServerFacts(id="1", engine="vllm", served_name="qwen3-32b")
    server = Known(id="1", line=line(), facts=facts)

    assert [server.serves(name) for name in ("Qwen/Qwen3-32B", "Qwen3-32B", "qwen3-32b", "qwen3")] == [
        True,
        True,
        True,
        False,
    ]
