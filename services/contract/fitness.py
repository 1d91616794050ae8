"""Whether an endpoint is fit to be measured: what `inference doctor` found, as printed with `--json` and kept in a run record."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["pass", "warn", "fail", "skip"]


class Finding(BaseModel):
    """One check."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str = Field(pattern=r"^[DH]\d\d$")
    title: str
    verdict: Verdict
    seen: str
    """What was observed, redacted, one line."""
    cure: str = ""
    """What to do about it; empty when it passed."""


class Fitness(BaseModel):
    """All checks of one endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: str
    model: str | None
    """As served; None when it is not known."""
    reachable: bool
    findings: tuple[Finding, ...]
    facts: dict[str, str] = Field(default_factory=dict)
    """Version, fingerprint, KV size, parsers, template digest, share of equal texts ..."""

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What has to be mended before numbers of this endpoint mean anything."""
        return tuple(finding for finding in self.findings if finding.verdict == "fail")


class Examination(BaseModel):
    """The object of `inference doctor --json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    endpoints: tuple[Fitness, ...] = ()
    """In the order they were named; several are replicas of one model."""
    host: tuple[Finding, ...] = ()
    """Checks of the machine the doctor ran on, with `--host`."""
