"""What the planner foretold, held against the engine's own count."""

from __future__ import annotations

import pytest

from services.inference.launchers.foretold import Foretold


@pytest.mark.parametrize("tokens", [1980, 2000, 2020])
def test_on_a_cpu_where_low_is_high_rounding_to_blocks_is_no_contradiction(tokens: int) -> None:
    assert Foretold(tokens=(2000, 2000)).contradicted_by(tokens) == ""


@pytest.mark.parametrize("tokens", [0, 979, 2021, 10**9])
def test_a_count_outside_of_what_was_admitted_is_a_warning_with_both(tokens: int) -> None:
    warning = Foretold(tokens=(1000, 2000)).contradicted_by(tokens)

    assert f"holds {tokens} tokens, and the plan foretold 1000 to 2000" in warning
