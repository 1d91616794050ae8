"""Scenario files for these tests."""

from pathlib import Path

import pytest

from services.runner.failures import ScenarioError
from services.runner.scenario import Scenario, read_scenario

GREEN_ID = "0a1b2c3d-0000-7000-8000-00000000aaaa"
PURPLE_ID = "0a1b2c3d-0000-7000-8000-00000000bbbb"
IMAGE_FAULT = "expected an image reference [host[:port]/]path[:tag][@sha256:digest] of at most 255 characters"
LEADERBOARD = Path(__file__).with_name("leaderboard.toml")
GREEN = '[green_agent]\nendpoint = "http://127.0.0.1:9009"\n'
MINIMAL = f"""
{GREEN}
[[participants]]
role = "purple"
endpoint = "http://127.0.0.1:9010"
"""
BY_ID = f"""
[green_agent]
agentbeats_id = "{GREEN_ID}"
[[participants]]
name = "purple"
agentbeats_id = "{PURPLE_ID}"
"""


def read(folder: Path, text: str, *, any_config: bool = False, allow_image: bool = False) -> Scenario:
    """Write and read a file."""
    path = folder / "scenario.toml"
    path.write_bytes(text.encode())
    return read_scenario(path, any_config=any_config, allow_image=allow_image)


def faults(folder: Path, text: str, *, any_config: bool = False) -> list[str]:
    """What is wrong with a file, without the file's name."""
    with pytest.raises(ScenarioError) as caught:
        read(folder, text, any_config=any_config)
    return [fault.removeprefix(f"{folder / 'scenario.toml'}: ") for fault in caught.value.faults]
