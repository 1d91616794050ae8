"""Scenarios as Amber manifests: read, checked, and written from the TOML form. Import from here, not from deeper."""

from services.runner.scenario.amber.document import read_document
from services.runner.scenario.amber.reading import AmberAgent, AmberScenario, read_amber
from services.runner.scenario.amber.schema import Property
from services.runner.scenario.amber.writing import AmberFiles, amber_files

__all__ = ["AmberAgent", "AmberFiles", "AmberScenario", "Property", "amber_files", "read_amber", "read_document"]
