"""The whole product on this machine: engine, purple, green and runner as processes."""

import json
import subprocess
from pathlib import Path

import pytest

from services.runner.demo import demo_scenario
from services.runner.scenario import read_scenario
from tests.runner.support.processes import ASSAY, ROOT


def test_quick_toml_asks_what_the_demo_asks() -> None:
    quick = read_scenario(ROOT / "config" / "scenarios" / "quick.toml")

    assert quick.config == demo_scenario().config
    assert quick.purple.model_endpoint == demo_scenario().purple.model_endpoint


@pytest.mark.slow
def test_the_demo_runs_without_any_model_says_so_and_writes_a_report(tmp_path: Path) -> None:
    done = subprocess.run(
        [ASSAY, "demo", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert "Reference engine, no language model" in summary["labels"]
    assert summary["overall_score"]["coverage"] == 1.0
    planned = {section["section"]: section["planned"] for section in summary["sections"]}
    assert [planned[name] for name in ("analytical_reasoning", "options_trading", "crypto_trading")] == [12, 12, 4]
    assert planned.get("code", 12) == 12
    html = (tmp_path / summary["report_html"]).read_text()
    assert "Reference engine, no language model" in html
    assert "opt-g2" in html
