"""The names under which suites and question files call a category."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from services.contract.assessment import nearest
from services.green_agent.benchmarks.options.template import Category


def _category(value: object) -> object:
    """Categories may be written as the slug or as a title: "Options Pricing", "P&L Attribution"."""
    if isinstance(value, Category) or not isinstance(value, str):
        return value
    slug = value.strip().casefold().replace("&", "n").replace(" ", "-").replace("_", "-")
    if slug not in {category.value for category in Category}:
        raise ValueError(f"unknown category {value!r}{nearest(slug, [category.value for category in Category])}")
    return Category(slug)


CategoryName = Annotated[Category, BeforeValidator(_category)]
"""A category by slug or title."""
