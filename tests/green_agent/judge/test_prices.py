"""Prices are facts of one model at one address; what is not known is None."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.contract.endpoints import Endpoint
from services.green_agent.judge.prices import PricesError, alias_moves, price_of


def endpoint(model: str, url: str = "https://api.openai.com/v1") -> Endpoint:
    return Endpoint(name="judge", model=model, urls=(url,))


def test_a_listed_model_has_its_price_at_its_own_address_only() -> None:
    price = price_of(endpoint("gpt-4o-mini"))

    assert price is not None
    assert (price.input_usd, price.output_usd) == (0.15, 0.6)
    assert price_of(endpoint("gpt-4o-mini", "http://127.0.0.1:8000/v1")) is None


def test_an_unlisted_model_has_no_price() -> None:
    assert price_of(endpoint("reference")) is None


def test_a_row_may_say_that_the_price_is_unknown_and_other_maps_are_left_alone(tmp_path: Path) -> None:
    table = tmp_path / "models.yaml"
    table.write_text(
        "models: {qwen3-32b: {id: Qwen/Qwen3-32B}}\n"
        "hosted: {m: {provider: openai, base_url: https://api.openai.com/v1, price: null, source: null}}\n"
    )

    assert price_of(endpoint("m"), table) is None


def test_a_wrong_table_is_an_error(tmp_path: Path) -> None:
    table = tmp_path / "models.yaml"
    table.write_text("hosted: {m: {provider: openai, cost: 1}}\n")

    with pytest.raises(PricesError, match="cost"):
        price_of(endpoint("m"), table)


def test_without_a_table_nothing_has_a_price(tmp_path: Path) -> None:
    assert price_of(endpoint("gpt-4o-mini"), tmp_path / "none.yaml") is None


def test_a_name_behind_which_the_model_changes_is_known_at_its_own_address_only() -> None:
    assert alias_moves(endpoint("deepseek-chat", "https://api.deepseek.com/v1"))
    assert not alias_moves(endpoint("deepseek-chat", "http://127.0.0.1:8000/v1"))
    assert not alias_moves(endpoint("gpt-4o"))
