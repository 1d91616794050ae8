"""A scenario as a compose project: its services, the roads to their models, and the file that says so."""

from services.runner.scenario.compose.project import ComposeOptions, ComposeProject, compose_project
from services.runner.scenario.compose.services import Client

__all__ = ["Client", "ComposeOptions", "ComposeProject", "compose_project"]
