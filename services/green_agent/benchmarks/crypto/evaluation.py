"""The `evaluation` table of a crypto entry: what a trade costs, what disturbs the market, how an episode is scored.

Finance specification 7.7. Sizes are base units of the traded asset, money is in the quote currency, rates are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from services.green_agent.benchmarks.crypto.transforms import parse_transform

HOUR_MS: Final = 3_600_000
REFUSED: Final = ("sharpe_floor", "win_rate_floor", "win_rate_cap")
"""Keys of older suites that would move the score of doing nothing away from 50."""

SMALLEST_WEIGHT: Final = 1e-6
LARGEST_WEIGHT: Final = 1e6


def _weighs(value: float) -> float:
    if 0 < value < SMALLEST_WEIGHT:
        raise ValueError(f"a weight is 0 or {SMALLEST_WEIGHT:g} and more, got {value:g}")
    return value


# Sums and products of weights between these bounds are exact enough that doing nothing stays at 50.
Weight = Annotated[float, Field(ge=0, le=LARGEST_WEIGHT, allow_inf_nan=False), AfterValidator(_weighs)]
Cap = Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Weights(BaseModel):
    """A table of weights; a name left out weighs 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="after")
    def _some_weight(self) -> _Weights:
        if not sum(self.positive().values()) > 0:
            raise ValueError("at least one weight must be above 0")
        return self

    def positive(self) -> dict[str, float]:
        """The weights above 0, by name, in the order of the specification."""
        return {name: weight for name in type(self).model_fields if (weight := getattr(self, name)) > 0}


class ScoreWeights(_Weights):
    """Share of each kind of episode in the score of a scenario. A kind of weight 0 is not run."""

    baseline: Weight = 0.0
    """The market as it is."""
    noisy: Weight = 0.0
    """Observations with noise, fills on the true path."""
    adversarial: Weight = 0.0
    """Shocks and liquidity crises injected into the market."""
    meta: Weight = 0.0
    """Consistency over `meta_transforms`."""


class MetricWeights(_Weights):
    """Share of each component in the score of an episode. Each component is 0..1 and 0.5 for an agent that does nothing."""

    sharpe: Weight = 0.0
    """t statistic of the bar returns."""
    total_return: Weight = 0.0
    """Return over the episode."""
    max_drawdown: Weight = 0.0
    """Largest fall of equity from its peak, against the return."""
    win_rate: Weight = 0.0
    """Sum of winning trades against the sum of losing ones."""


def _transforms(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    for name in value:
        parse_transform(name)
    if len(set(value)) < len(value):
        raise ValueError("each transform may be named once")
    return value


def _range(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 2 and value[0] > value[1]:
        raise ValueError(f"the lower end comes first, got {value[0]!r} to {value[1]!r}")
    return value


Slippage = Annotated[float, Field(ge=0, le=0.1)]


class EvaluationConfig(BaseModel):
    """How the episodes of a scenario are run and scored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    initial_balance: float = Field(default=10_000.0, gt=0, allow_inf_nan=False)
    """Wallet at the first bar."""
    max_leverage: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Notional of the position over equity, up to which an order opens."""
    trading_fee: float = Field(default=0.0004, ge=0, le=0.1)
    """Fee of every fill, as a fraction of its notional."""
    slippage_range: Annotated[tuple[Slippage, Slippage], BeforeValidator(_range)] = (0.0, 0.0)
    """Lowest and highest fraction by which a fill is worse than its price; one draw a bar."""
    price_noise_level: float = Field(default=0.001, ge=0, le=0.1)
    """Standard deviation of the observation noise of the noisy episode, as a fraction of the price."""
    adversarial_injection_rate: float = Field(default=0.05, ge=0, le=1)
    """Probability, at each bar outside a running event, that one begins in the adversarial episode."""
    decision_interval: int = Field(default=1, ge=1)
    """The agent is asked at every so many bars."""
    funding_interval_hours: float = Field(default=8.0, ge=0, allow_inf_nan=False)
    """Funding is paid at UTC multiples of this, a minute or more; 0 switches it off."""
    maintenance_margin: float = Field(default=0.01, ge=0, lt=1)
    """A position is liquidated when equity falls to this fraction of its notional."""
    liquidation_fee: float = Field(default=0.005, ge=0, lt=1)
    """Penalty of a liquidation, as a fraction of its notional, beside the trading fee."""
    seed: int | None = None
    """Seed of slippage, noise, events and rescaling; the run seed when null."""
    score_weights: ScoreWeights = ScoreWeights(baseline=0.40, noisy=0.30, adversarial=0.20, meta=0.10)
    """Share of each kind of episode."""
    metric_weights: MetricWeights = MetricWeights(sharpe=0.50, total_return=0.25, max_drawdown=0.15, win_rate=0.10)
    """Share of each component."""
    meta_transforms: Annotated[tuple[str, ...], BeforeValidator(_transforms)] = Field(
        default=("identity", "scale_1_1", "invert_returns"), min_length=1
    )
    """The markets of the meta score: identity, scale_<a>_<b> (prices times a.b) or invert_returns."""
    return_cap: Cap = "auto"
    """Return that earns full marks; auto: twice the volatility of the episode, at least .005, at most .5."""
    drawdown_cap: Cap = "auto"
    """Drawdown that loses all marks; auto as `return_cap`."""
    sharpe_cap: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """t statistic that earns full marks."""

    @model_validator(mode="before")
    @classmethod
    def _no_moved_neutral_point(cls, value: object) -> object:
        refused = [key for key in REFUSED if isinstance(value, Mapping) and key in value]
        if refused:
            raise ValueError(f"{', '.join(refused)}: refused, it would move the score of doing nothing away from 50")
        return value

    @property
    def funding_interval_ms(self) -> int:
        """Milliseconds between funding payments; 0 when there are none."""
        return round(self.funding_interval_hours * HOUR_MS)

    @model_validator(mode="after")
    def _can_be_run(self) -> EvaluationConfig:
        if 0 < self.funding_interval_hours < 1 / 60:
            raise ValueError(f"funding_interval_hours must be 0 or a minute or more, got {self.funding_interval_hours}")
        if self.maintenance_margin * self.max_leverage >= 1:
            raise ValueError(
                f"maintenance_margin {self.maintenance_margin} must be below 1 / max_leverage ({self.max_leverage}), "
                "or a full position is liquidated as it opens"
            )
        return self
