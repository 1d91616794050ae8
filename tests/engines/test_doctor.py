"""`inference doctor` in front of real engines: it passes a good one whole and names what is wrong with the others."""

from __future__ import annotations

import subprocess

import pytest

from services.contract.fitness import Examination, Finding
from tests.engines.servers import Served
from tests.support.engine import INFERENCE

pytestmark = pytest.mark.engine


def examined(served: Served, *options: str) -> tuple[int, dict[str, Finding]]:
    """Exit code and the findings by id."""
    command = [*INFERENCE, "doctor", served.url, "--model", served.model, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.stdout, done.stderr
    [fitness] = Examination.model_validate_json(done.stdout).endpoints
    return done.returncode, {finding.id: finding for finding in fitness.findings}


def verdicts(findings: dict[str, Finding], *ids: str) -> dict[str, str]:
    return {id_: findings[id_].verdict for id_ in ids}


def test_vllm_passes_whole(vllm_server: Served) -> None:
    code, findings = examined(vllm_server, "--engine", "vllm")
    assert [finding for finding in findings.values() if finding.verdict == "fail"] == []
    assert len(findings) == 18
    assert code == 0


def test_wrong_tool_parser_fails_every_check_of_tools_and_the_parser_is_named_as_the_cause(wrong_vllm: Served) -> None:
    code, findings = examined(wrong_vllm, "--engine", "vllm", "--only", "D05,D06,D07,D08")
    assert verdicts(findings, "D05", "D06", "D07", "D08") == dict.fromkeys(("D05", "D06", "D07", "D08"), "fail")
    assert all("--tool-call-parser" in finding.cure for finding in findings.values()), findings
    assert code == 1


def test_reasoning_parser_without_the_template_default_fails_with_its_cure(wrong_vllm: Served) -> None:
    code, findings = examined(wrong_vllm, "--engine", "vllm", "--only", "D11")
    assert (code, findings["D11"].verdict) == (1, "fail")
    assert "--default-chat-template-kwargs" in findings["D11"].cure


def test_transformers_serve_is_found_to_ignore_required_tools_schemas_and_logprobs(transformers_server: Served) -> None:
    code, findings = examined(transformers_server, "--engine", "transformers", "--only", "D04,D05,D07,D10,D12")
    assert verdicts(findings, "D04", "D05", "D07", "D10", "D12") == {
        "D04": "fail",
        "D05": "fail",
        "D07": "pass",
        "D10": "fail",
        "D12": "warn",
    }
    assert code == 1
