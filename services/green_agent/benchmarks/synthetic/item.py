"""One item of a synthetic question file in the format of AgentBusters, checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr

from services.green_agent.data.questions import LongText, ShortText

Leaf = StrictBool | StrictInt | Annotated[FiniteFloat, Field(strict=True)] | StrictStr
"""A value of a key: yes or no, a number, a label or prose."""


class Component(BaseModel):
    """One part of an item's rubric."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: ShortText
    description: ShortText
    expected_value: Leaf | None = None
    weight: FiniteFloat = Field(gt=0, strict=True)

    @property
    def expected(self) -> str:
        """The expected value in words; empty when there is none."""
        return "" if self.expected_value is None else str(self.expected_value)[:2_000]


class Rubric(BaseModel):
    """What an answer earns points for."""

    model_config = ConfigDict(frozen=True, extra="allow")

    components: tuple[Component, ...] = Field(max_length=50)


class FileItem(BaseModel):
    """A question with its key and the steps that lead to it. Fields beyond these act on the digest only."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    question_id: ShortText
    category: ShortText
    difficulty: ShortText
    question: LongText
    ground_truth_value: Leaf | Annotated[dict[ShortText, Leaf], Field(min_length=1, max_length=50)]
    ground_truth_formatted: LongText
    """The key in words."""
    calculation_steps: tuple[ShortText, ...] = Field(max_length=200)
    """Never shown: not to the agent and not to a judge."""
    rubric: Rubric
