"""An OpenAI-compatible engine without a model: every answer is a pure function of the request.

It makes the suite runnable anywhere and its plumbing testable, and says nothing about models. Specification: inference 8.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "1"
"""Raised with every change that can move an answer."""

LABEL: Final = "reference engine, no language model"
"""Printed wherever a result could be taken for a model's."""

MODEL: Final = "reference"
"""Name of the only model it serves."""

FINGERPRINT: Final = f"reference-engine-{VERSION}"
"""`system_fingerprint` of every answer; leaderboard submission refuses it."""
