"""Sub-scores of sections, through the real green."""

from pathlib import Path

from services.contract.outcomes import Outcome
from tests.support.greens import assess, green
from tests.support.purples import crashing, purple, replay

SUITE = """
name: t
datasets:
  - {type: options, limit: 9}
  - {type: crypto, on_missing: generate, max_steps: 6, generator: {count: 4, bars: 20}}
"""


async def test_a_task_the_agent_fails_on_stays_in_the_sub_scores_of_its_section(tmp_path: Path) -> None:
    suite = tmp_path / "eval.yaml"
    suite.write_text(SUITE)
    holds = replay({}, default='{"action": "hold", "size": 0}')

    async with green(suite=suite) as url, purple(holds) as steady, purple(crashing(1.0, holds)) as crashes:
        whole = await assess(url, steady.url)
        broken = await assess(url, crashes.url)

    failed = [row for row in broken.rows if row.outcome is Outcome.AGENT_ERROR]
    assert {row.benchmark for row in failed} == {"options", "crypto"}
    before = {row.task_id: row for row in whole.rows}
    for row in failed:
        expected = {name: (0.0, share.possible) for name, share in before[row.task_id].sub_scores.items()}
        assert {name: (share.earned, share.possible) for name, share in row.sub_scores.items()} == expected
    section = broken.result.section_scores["crypto_trading"]
    assert section is not None
    assert set(section.sub_scores.values()) == {0.0}
