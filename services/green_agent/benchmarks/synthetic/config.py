"""The `synthetic` entry of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, field_validator

from services.contract.assessment import nearest
from services.green_agent.benchmarks.base import DatasetConfig
from services.green_agent.benchmarks.synthetic.template import Difficulty
from services.green_agent.benchmarks.synthetic.templates import TEMPLATES

SHARES: Final[Mapping[Difficulty, float]] = MappingProxyType(
    {Difficulty.EASY: 0.3, Difficulty.MEDIUM: 0.4, Difficulty.HARD: 0.3}
)


def _template(value: object) -> object:
    if isinstance(value, str) and value not in TEMPLATES:
        raise ValueError(f"unknown template {value!r}{nearest(value, TEMPLATES)}")
    return value


TemplateNames = Annotated[tuple[Annotated[str, BeforeValidator(_template)], ...], Field(min_length=1)]


class GeneratorConfig(BaseModel):
    """Which questions are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: StrictInt | str | None = None
    """The run seed when null. A text names a hidden seed in the file `ASSAY_HIDDEN_SEEDS` or `~/.assay/hidden_seeds.yaml`."""
    count: int | None = Field(default=None, ge=1, le=1_000_000)
    """Questions, dealt evenly over the templates. Null: 90, or as many as the entry's `limit` if that is more."""
    templates: Literal["all"] | TemplateNames = "all"
    """The templates to make questions from."""
    difficulty: Mapping[Difficulty, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=lambda: dict(SHARES)
    )
    """Shares of easy, medium and hard questions, relative to their sum; one that is left out is not made."""

    @field_validator("difficulty")
    @classmethod
    def _some_share(cls, shares: Mapping[Difficulty, float]) -> Mapping[Difficulty, float]:
        if not sum(shares.values()) > 0:
            raise ValueError("the shares of easy, medium and hard must sum to more than 0")
        return shares

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen templates, each once."""
        return tuple(TEMPLATES) if self.templates == "all" else tuple(dict.fromkeys(self.templates))


class SyntheticConfig(DatasetConfig):
    """The `synthetic` entry of a suite."""

    path: str | None = None
    """A question file in the format of AgentBusters. Null: our generator, which needs no download."""
    audit: Literal["quarantine", "report", "off"] = "quarantine"
    """Items of the file whose key is doubtful: drop them, keep them with their flags, or do not look."""
    fill: Literal["none", "generate"] = "none"
    """`generate`: when there are fewer questions than the entry's `limit`, our generator makes the rest."""
    generator: GeneratorConfig = GeneratorConfig()
    """The questions that are generated."""
