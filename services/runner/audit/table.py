"""How the audit is shown: aligned text, Markdown for `docs/validity.md`, JSON."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import JsonValue

from services.runner.audit.audit import Audit
from services.runner.audit.exploits import Finding, exploits
from services.runner.summary import aligned

HEAD = ("exploit", "benchmark", "peer", "here", "at most", "")


def text_of(found: Audit) -> str:
    """One line an exploit and benchmark, then what was skipped."""
    rows = [(f.exploit, f.benchmark, f.peer, f.got, f.limit, "held" if f.held else "OVER") for f in found.findings]
    lines = aligned([HEAD, *rows])
    lines += [f"skipped: suite {suite}: {reason}" for suite, reason in found.skipped.items()]
    over = sum(not finding.held for finding in found.findings)
    lines.append(f"{len(found.findings)} findings, {over} over their limit")
    return "\n".join(lines)


def markdown_of(found: Audit) -> str:
    """One row an exploit: what it reached in each benchmark, beside the limit and the peer's figure."""
    benchmarks = sorted({finding.benchmark for finding in found.findings})
    lines = [
        "| exploit | peer | " + " | ".join(benchmarks) + " |",
        "|---|---|" + "---|" * len(benchmarks),
    ]
    played = {finding.exploit for finding in found.findings}
    for exploit in (known.name for known in exploits() if known.name in played):
        own = {finding.benchmark: finding for finding in found.findings if finding.exploit == exploit}
        peer = next(iter(own.values())).peer
        cells = [_cell(own[name]) if name in own else "" for name in benchmarks]
        lines.append(f"| {exploit} | {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(finding: Finding) -> str:
    """What was reached; the limit beside it where it is not 0."""
    if finding.limit == "0":
        return finding.got
    twin = finding.limit.removesuffix(" (its twin)")
    return f"{finding.got} (twin {twin})" if twin != finding.limit else f"{finding.got} ({finding.limit})"


def json_of(found: Audit) -> dict[str, JsonValue]:
    """The object of `--json`."""
    return {"held": found.held, "findings": [asdict(f) for f in found.findings], "skipped": dict(found.skipped)}
