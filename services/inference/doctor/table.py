"""What the doctor found, for people."""

from __future__ import annotations

from collections.abc import Sequence

from services.contract.fitness import Examination, Finding

_WORDS = {"pass": "pass", "warn": "WARN", "fail": "FAIL", "skip": "skip"}


def table_of(found: Examination) -> str:
    """One line a check, with the cure below it; a paragraph an endpoint."""
    parts = []
    for fitness in found.endpoints:
        verdict = "unreachable" if not fitness.reachable else "not fit" if fitness.failed else "fit"
        parts.append(
            "\n".join([f"{fitness.url}, model {fitness.model or 'unknown'}: {verdict}", *_lines(fitness.findings)])
        )
    if found.host:
        parts.append("\n".join(["this machine", *_lines(found.host)]))
    return "\n\n".join(parts)


def _lines(findings: Sequence[Finding]) -> list[str]:
    width = max((len(finding.title) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"  {finding.id}  {_WORDS[finding.verdict]}  {finding.title.ljust(width)}  {finding.seen}")
        if finding.cure:
            lines.append(f"  {' ' * (width + 11)} > {finding.cure}")
    return lines
