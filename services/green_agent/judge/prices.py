"""What judge models cost: the `hosted` rows of `config/models.yaml`. Unknown is None, never 0."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contract.endpoints import Endpoint, Price, Provider


class PricesError(Exception):
    """The file of prices is wrong. The text names it."""


class Hosted(BaseModel):
    """A model that is paid by the token."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    provider: Provider
    base_url: str
    """Where the price holds; the same name on another server costs something else."""
    price: Price | None
    source: str | None
    """Where the price was read."""
    context: int | None = None
    """Tokens of prompt and answer together; None: unknown."""
    alias_moves: bool = False
    """The provider changes the model behind this name."""
    verify: bool = False
    """True when nobody compared it with the provider's own page."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # other maps of the file are other services' business

    hosted: dict[str, Hosted] = {}


def price_of(endpoint: Endpoint, table: Path | None = None) -> Price | None:
    """The price of a model at its address; None where it is unknown. Raises PricesError."""
    row = _row(endpoint, table)
    return None if row is None else row.price


def alias_moves(endpoint: Endpoint, table: Path | None = None) -> bool:
    """The provider is known to change the model behind this name. Raises PricesError."""
    row = _row(endpoint, table)
    return row is not None and row.alias_moves


def _row(endpoint: Endpoint, table: Path | None) -> Hosted | None:
    row = _hosted(_path() if table is None else table).get(endpoint.model)
    if row is None or row.provider != endpoint.provider or row.base_url.rstrip("/") not in endpoint.urls:
        return None
    return row


def _path() -> Path:
    configured = os.environ.get("ASSAY_CONFIG_DIR")
    root = Path(configured) if configured else Path(__file__).resolve().parents[3] / "config"
    return root / "models.yaml"


@lru_cache(maxsize=4)
def _hosted(path: Path) -> dict[str, Hosted]:
    if not path.is_file():
        return {}
    try:
        return _Table.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).hosted
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise PricesError(f"{path.name}: {error}") from None
