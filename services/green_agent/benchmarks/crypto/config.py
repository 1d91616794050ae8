"""The `crypto` entry of a suite: where market data come from, how much of them is played, how it is scored."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from services.contract.secrets import register_secret
from services.green_agent.benchmarks.base import DatasetConfig
from services.green_agent.benchmarks.crypto.bars import MIN_BARS
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.scenario_generator import GeneratorConfig

TABLE: Final = r"[a-z_][a-z0-9_.]*"


def _secret(value: object) -> object:
    if isinstance(value, str):
        register_secret(value)
    return value


def _moment(value: object) -> object:
    """Dates as files write them: `2024-01-31` or a full time; without a zone it is UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()  # YAML reads a bare date as one
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment


Secret = Annotated[SecretStr, BeforeValidator(_secret)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Table = Annotated[str, Field(pattern=rf"^{TABLE}$")]


class CryptoConfig(DatasetConfig):
    """The `crypto` entry of a suite (finance specification 1.1 and 7)."""

    path: str | None = None
    """Folder of scenarios: `<id>/market_data.json`."""
    revision: str | None = None
    """Branch, tag or commit of `EVAL_DATA_REPO`; main when null."""
    remote_manifest: str | None = None
    """Address of a manifest of scenarios, or its path."""
    cache_dir: str | None = None
    """Where downloads are kept; the cache of Assay when null."""
    cache_ttl_hours: float = Field(default=24.0, ge=0, allow_inf_nan=False)
    """How long a downloaded manifest is used before it is asked for again. Scenarios are kept by their digest."""
    download_on_missing: bool = False
    """Use `remote_manifest`, or else `EVAL_DATA_REPO`, when `path` does not exist."""
    on_missing: Literal["error", "generate"] = "error"
    """generate: without market data of one's own, make them."""
    fill: Literal["none", "generate"] = "none"
    """generate: top up a pool that is smaller than `limit`, or than `generator.count`, with made scenarios."""
    scenarios: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Keep only these ids; all when null."""
    stride: int = Field(default=1, ge=1)
    """So many bars are aggregated into one."""
    max_steps: int | None = Field(default=None, ge=MIN_BARS)
    """Bars of an episode; all that the warm-up leaves when null."""
    warmup_bars: int = Field(default=100, ge=0)
    """Leading bars that feed indicators only, at most a quarter of the window when `max_steps` is null."""
    reveal: bool = False
    """Show real times, symbol and prices."""
    record_interactions: bool = True
    """Keep every prompt and every reply in the transcript. False is refused: a score must be computable again from it."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Costs, disturbances and score."""
    generator: GeneratorConfig = GeneratorConfig()
    """Made scenarios."""
    pg_enabled: bool = False
    """Read hidden windows from a PostgreSQL database."""
    pg_dsn: Secret | None = None
    """Connection string; replaces the other `pg_` keys of the connection."""
    pg_host: str = "localhost"
    pg_port: int = Field(default=5432, ge=1, le=65_535)
    pg_dbname: str = "market_data"
    pg_user: str = "postgres"
    pg_password: Secret | None = None
    """`PGPASSWORD` when null."""
    pg_ohlcv_table: Table = "market_data.candles_1m"
    """Columns symbol, bucket_ts, open, high, low, close, volume; one-minute bars."""
    pg_funding_table: Table | None = None
    """Columns symbol, funding_time, funding_rate; null: no funding."""
    hidden_seed_config: str | None = None
    """Name of the master seed the windows are drawn from; the seed itself stays outside the suite."""
    window_count: int = Field(default=12, ge=1, le=10_000)
    window_min_bars: int = Field(default=1_440, ge=MIN_BARS)
    window_max_bars: int = Field(default=10_080, ge=MIN_BARS, le=1_000_000)
    symbols: tuple[str, ...] = Field(default=("BTCUSDT",), min_length=1)
    """Window i is of symbol i modulo their number."""
    date_range_start: Moment | None = None
    date_range_end: Moment | None = None
    """Windows lie between these times."""

    @model_validator(mode="after")
    def _hidden_windows_are_whole(self) -> CryptoConfig:
        if self.window_min_bars > self.window_max_bars:
            raise ValueError(f"window_min_bars {self.window_min_bars} is above window_max_bars {self.window_max_bars}")
        if not self.pg_enabled:
            return self
        needed = ("hidden_seed_config", "date_range_start", "date_range_end")
        if missing := [name for name in needed if getattr(self, name) is None]:
            raise ValueError(f"pg_enabled draws hidden windows and needs {', '.join(missing)}")
        return self

    @field_validator("record_interactions")
    @classmethod
    def _interactions_are_kept(cls, value: bool) -> bool:  # noqa: FBT001 - pydantic's signature
        if not value:
            raise ValueError("false is refused: the score of every trial must be computable again from its transcript")
        return value
