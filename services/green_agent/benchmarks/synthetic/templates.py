"""Every template, by name. A change of any of them is a new GENERATOR_VERSION."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.green_agent.benchmarks.synthetic import decisions, instruments, statements, valuation
from services.green_agent.benchmarks.synthetic.template import AnyTemplate

GENERATOR_VERSION: Final = "g1"
"""Part of every task id and digest."""

_ALL: Final[tuple[AnyTemplate, ...]] = (
    *statements.TEMPLATES,
    *valuation.TEMPLATES,
    *instruments.TEMPLATES,
    *decisions.TEMPLATES,
)

TEMPLATES: Final[Mapping[str, AnyTemplate]] = MappingProxyType({template.name: template for template in _ALL})
