"""Scenarios: who takes part and what is asked. Reading and writing of their files only; starting is `participants`."""

from services.runner.scenario.agents import GREEN, REFERENCE, AgentSpec, Kind, Limits
from services.runner.scenario.model import Scenario
from services.runner.scenario.reading import parse_scenario, read_scenario

__all__ = ["GREEN", "REFERENCE", "AgentSpec", "Kind", "Limits", "Scenario", "parse_scenario", "read_scenario"]
