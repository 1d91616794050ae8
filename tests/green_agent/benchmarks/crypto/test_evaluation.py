"""The evaluation table: defaults of the specification, and what is refused."""

import pytest
from pydantic import ValidationError

from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig, MetricWeights, ScoreWeights


def test_defaults_are_those_of_the_specification() -> None:
    assert EvaluationConfig().model_dump() == {
        "initial_balance": 10_000.0,
        "max_leverage": 3.0,
        "trading_fee": 0.0004,
        "slippage_range": (0.0, 0.0),
        "price_noise_level": 0.001,
        "adversarial_injection_rate": 0.05,
        "decision_interval": 1,
        "funding_interval_hours": 8.0,
        "maintenance_margin": 0.01,
        "liquidation_fee": 0.005,
        "seed": None,
        "score_weights": {"baseline": 0.4, "noisy": 0.3, "adversarial": 0.2, "meta": 0.1},
        "metric_weights": {"sharpe": 0.5, "total_return": 0.25, "max_drawdown": 0.15, "win_rate": 0.1},
        "meta_transforms": ("identity", "scale_1_1", "invert_returns"),
        "return_cap": "auto",
        "drawdown_cap": "auto",
        "sharpe_cap": 3.0,
    }


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"sharpe_floor": 0}, "sharpe_floor: refused, it would move the score of doing nothing away from 50"),
        ({"win_rate_floor": 0, "win_rate_cap": 1}, "win_rate_floor, win_rate_cap: refused"),
        ({"trading_fees": 0.1}, "Extra inputs are not permitted"),
        ({"score_weights": {"baseline": 0}}, "at least one weight must be above 0"),
        ({"score_weights": {}}, "at least one weight must be above 0"),
        ({"score_weights": {"baseline": 1, "meta": -0.1}}, "greater than or equal to 0"),
        ({"score_weights": {"baseline": 1e308, "noisy": 1e308}}, "less than or equal to 1000000"),
        ({"metric_weights": {"sharpe": 5e-324}}, "a weight is 0 or 1e-06 and more"),
        ({"score_weights": {"basline": 1}}, "Extra inputs are not permitted"),
        ({"metric_weights": {"sharpe": float("inf")}}, "finite number"),
        ({"meta_transforms": ["mirror"]}, "unknown transform 'mirror'; known: identity, scale_<a>_<b>"),
        ({"meta_transforms": [3]}, "unknown transform 3"),
        ({"meta_transforms": ["identity", "identity"]}, "each transform may be named once"),
        ({"meta_transforms": []}, "at least 1 item"),
        ({"slippage_range": [0.002, 0.001]}, "the lower end comes first"),
        ({"slippage_range": [-0.1, 0]}, "greater than or equal to 0"),
        ({"decision_interval": 0}, "greater than or equal to 1"),
        ({"initial_balance": 0}, "greater than 0"),
        ({"max_leverage": 200}, "maintenance_margin 0.01 must be below 1 / max_leverage"),
        ({"funding_interval_hours": 0.001}, "must be 0 or a minute or more, got 0.001"),
        ({"return_cap": 0}, "greater than 0"),
        ({"price_noise_level": 0.5}, "less than or equal to 0.1"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(table: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EvaluationConfig.model_validate(table)

    assert fault in str(caught.value)


def test_a_weight_left_out_of_a_table_is_zero() -> None:
    config = EvaluationConfig.model_validate({"score_weights": {"noisy": 1}, "metric_weights": {"win_rate": 2}})

    assert config.score_weights == ScoreWeights(baseline=0, noisy=1, adversarial=0, meta=0)
    assert config.score_weights.positive() == {"noisy": 1}
    assert config.metric_weights == MetricWeights(win_rate=2)
