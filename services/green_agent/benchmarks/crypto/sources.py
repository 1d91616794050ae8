"""Which market windows are played: a folder, a manifest, a database or our generator (finance specification 7.2)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, JsonValue, TypeAdapter, ValidationError
from typing_extensions import Annotated

from services.contract.assessment import nearest
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.bars import Bars, check
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.benchmarks.crypto.scenario_generator import generate
from services.green_agent.data.errors import DataError
from services.green_agent.data.store import Store
