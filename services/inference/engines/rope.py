"""Longer contexts by YaRN: `--rope-scaling yarn:2.0`.

An engine takes the rope parameters as a whole and refuses them without the new maximum of positions (measured), so both are
written together; and with the rotary base, for which the engine would otherwise put a default of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from services.inference.failures import UsageError
from services.inference.planning.presets import Preset


@dataclass(frozen=True, kw_only=True, slots=True)
class Rope:
    """YaRN parameters."""

    factor: float
    native: int
    """Positions the model was trained on."""
    theta: float

    @property
    def positions(self) -> int:
        """Positions with this scaling."""
        return int(self.native * self.factor)

    @property
    def parameters(self) -> dict[str, str | float]:
        """As the model's configuration holds them."""
        return {
            "rope_type": "yarn",
            "factor": self.factor,
            "original_max_position_embeddings": self.native,
            "rope_theta": self.theta,
        }

    @property
    def overrides(self) -> str:
        """The changes to the model's configuration, as JSON."""
        changed = {"rope_parameters": self.parameters, "max_position_embeddings": self.positions}
        return json.dumps(changed, separators=(",", ":"))


def rope(preset: Preset, text: str) -> Rope:
    """What `--rope-scaling TEXT` means for this model.

    Raises UsageError for another form than `yarn:F` with F > 1, and for a model whose rotary base is not known.
    """
    found = re.fullmatch(r"yarn:(\d{1,4}(?:\.\d{1,6})?)", text)
    if found is None or float(found[1]) <= 1:
        raise UsageError(f"--rope-scaling: expected yarn:F with a factor above 1, such as yarn:2.0, got {text!r}")
    if preset.lengths.rope_theta is None:
        raise UsageError(
            f"--rope-scaling {text}: the rotary base of {preset.key} is not known; write rope_theta of its config.json "
            "into lengths of its row in config/models.yaml"
        )
    return Rope(factor=float(found[1]), native=preset.lengths.native, theta=preset.lengths.rope_theta)


def stretched(preset: Preset, text: str) -> Preset:
    """The preset with the positions that the scaling gives: what a plan with `--rope-scaling` is made of.

    Raises UsageError as `rope` does, and for a factor that gains nothing.
    """
    positions = rope(preset, text).positions
    if positions <= preset.lengths.max_positions:
        raise UsageError(
            f"--rope-scaling {text}: gives {positions} tokens; {preset.key} has {preset.lengths.max_positions} without it"
        )
    return preset.model_copy(update={"lengths": preset.lengths.model_copy(update={"max_positions": positions})})
