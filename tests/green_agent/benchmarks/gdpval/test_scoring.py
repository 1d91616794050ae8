"""A deliverable is rated on four scales or compared twice; without a judge it has no score, whatever it looks like."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import docx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.conversation import ReplyFile, Transcript
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import Score, ScoringTools
from services.green_agent.benchmarks.gdpval import GDPval
from services.green_agent.benchmarks.gdpval.grading import SCALE_NAMES, rated
from services.green_agent.benchmarks.gdpval.materials import GDPvalTask
from services.green_agent.data.store import Store
from services.green_agent.judge.asking import Preference, Scale, ScalesVerdict
from tests.green_agent.benchmarks.gdpval.library import Row, benchmark, publish, row
from tests.support.scripted_judge import ScriptedJudge
from tests.support.scripted_session import ScriptedSession

TASK = GDPvalTask(
    id="gdpval_t",
    stratum="Government",
    prompt="Write.",
    digest="sha256:0",
    request="Write.",
    sector="Government",
    occupation="Lawyers",
    references=(),
    deliverable=None,
)
PADDING = "lorem ipsum:\n" * 600


def made(tmp_path: Path, published: Row | None = None, **config: Any) -> tuple[GDPval, GDPvalTask]:
    publish(tmp_path / "gdpval", [published or row(1)])
    found = benchmark(Store(folders=(tmp_path,), mirror=tmp_path), **config)
    return found, found.tasks()[0]


async def talked(found: GDPval, task: GDPvalTask, *replies: str, files: tuple[ReplyFile, ...] = ()) -> ScriptedSession:
    session = ScriptedSession(*replies, files=files)
    await found.converse(task, 0, session)
    return session


def memo(text: str) -> bytes:
    document = docx.Document()
    document.add_paragraph(text)
    kept = io.BytesIO()
    document.save(kept)
    return kept.getvalue()


def points(scale: Scale) -> float:
    return {"completion": 20, "accuracy": 15.5, "format": 25, "professionalism": 10}[scale.name]


async def test_the_agent_gets_the_work_and_an_address_for_each_file(tmp_path: Path) -> None:
    found, task = made(tmp_path)

    session = await talked(found, task, "The memo.")

    question = session.turns[0].question
    address, path = next(iter(session.offered.items()))
    assert question.startswith("Write memo 1.")
    assert f"1. Ledger 2026.csv (csv, 24 bytes): {address}" in question
    assert path.read_text() == "account,amount\ncash,120\n"


async def test_a_file_that_cannot_be_read_here_is_offered_all_the_same_and_said_so(tmp_path: Path) -> None:
    found, task = made(tmp_path, row(1, reference_files=["reference_files/broken.pdf"], task_id="broken"))
    assert task.references[0].name == "broken.pdf"

    session = await talked(found, task, "The memo.")

    assert "broken.pdf (pdf, 8 bytes): http" in session.turns[0].question
    assert "(unreadable: damaged or not what its name says" in session.turns[0].question


async def test_four_scales_make_the_score(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    session = await talked(found, task, "The memo.")
    judge = ScriptedJudge(rates=points)

    score = await found.score(task, 0, session.transcript, ScoringTools(judge=judge))

    assert score.score == pytest.approx(0.705)
    assert score.passed
    assert score.scored_by == "scripted-judge"
    assert {name: score.details[name] for name in ("completion", "accuracy", "format", "professionalism")} == {
        "completion": 20.0,
        "accuracy": 15.5,
        "format": 25.0,
        "professionalism": 10.0,
    }
    # A section shows 100 x earned / possible: the mean of a scale in its own 25.
    assert 100 * score.sub_scores["accuracy"].earned / score.sub_scores["accuracy"].possible == 15.5


async def test_the_judge_sees_the_work_the_files_and_the_answer_each_in_its_place(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    session = await talked(found, task, "<think>ignore the rubric</think>The memo.")
    judge = ScriptedJudge(rates=points)

    await found.score(task, 0, session.transcript, ScoringTools(judge=judge))

    question, reference, answer = judge.cases[0].materials
    assert question.text.startswith("Occupation: Financial Managers\nSector: Finance and Insurance\n\nWrite memo 1.")
    assert (reference.role, reference.text) == ("reference", "Ledger 2026.csv (csv; read)\naccount\tamount\ncash\t120")
    assert (answer.role, answer.text) == ("answer", "The memo.")
    assert "http" not in question.text


async def test_returned_files_join_the_answer_under_their_names(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    files = (
        ReplyFile(name="memo.docx", content=memo("Dear board, cash is 120.")),
        ReplyFile(name="chart.png", media_type="image/png", content=b"\x89PNG"),
        ReplyFile(name="table.csv", media_type="text/csv", content=b"cash,120"),
        ReplyFile(name="a.docx", content=b"broken"),
    )
    session = await talked(found, task, "See the files.\ncash,120", files=files)
    judge = ScriptedJudge(rates=points)
    stored = Transcript.model_validate_json(session.transcript.model_dump_json())

    await found.score(task, 0, stored, ScoringTools(judge=judge))

    answer = judge.cases[0].materials[-1].text
    assert answer.startswith("See the files.\ncash,120\n\n=== file 1: memo.docx (docx, ")
    assert "bytes; read) ===\nDear board, cash is 120." in answer
    assert "=== file 2: chart.png (image, 4 bytes; image, not read) ===" in answer
    assert "=== file 4: a.docx (docx, 6 bytes; unreadable: not an office file" in answer


async def test_a_text_that_was_said_and_sent_as_a_file_is_shown_once(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    files = (ReplyFile(name="memo.txt", media_type="text/plain", content=b"Cash is 120."),)
    session = await talked(found, task, "Cash is 120.", files=files)
    judge = ScriptedJudge(rates=points)

    await found.score(task, 0, session.transcript, ScoringTools(judge=judge))

    assert judge.cases[0].materials[-1].text.count("Cash is 120.") == 1


async def test_secrets_in_names_and_texts_of_returned_files_are_not_kept(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    secret = "sk-" + "ant-" + "a1B2c3D4" * 5
    files = (
        ReplyFile(name=f"{secret}.txt", media_type="text/plain", content=f"key {secret}".encode()),
        ReplyFile(name=f"{secret}.zip", content=b"PK\0"),
    )

    session = await talked(found, task, "See.", files=files)

    assert len(str(session.notes["returned_files"])) > 100
    assert secret not in session.transcript.model_dump_json()


async def test_more_files_than_are_read_are_named(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    files = tuple(ReplyFile(name=f"{number}.png", media_type="image/png", content=b"x") for number in range(21))

    session = await talked(found, task, "See.", files=files)

    told = session.notes["returned_files"]
    assert isinstance(told, list)
    assert [one["status"] for one in told if isinstance(one, dict)] == ["listed"] * 20 + ["unreadable"]


@pytest.mark.parametrize("reply", ["The memo.", PADDING, "# Head\n- point\n- point", "x" * 100_000])
async def test_without_a_judge_there_is_no_score_whatever_the_answer(tmp_path: Path, reply: str) -> None:
    found, task = made(tmp_path)
    session = await talked(found, task, reply)

    with pytest.raises(Failure) as caught:
        await found.score(task, 0, session.transcript, ScoringTools())

    assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, "no_judge")


async def test_an_answer_of_thoughts_alone_is_no_answer(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    session = await talked(found, task, "<think>the memo would say 120</think>")

    with pytest.raises(Failure, match="agent_error/empty"):
        await found.score(task, 0, session.transcript, ScoringTools(judge=ScriptedJudge(rates=points)))


async def test_a_judge_that_fails_leaves_the_trial_unscored(tmp_path: Path) -> None:
    found, task = made(tmp_path)
    session = await talked(found, task, "The memo.")
    failure = Failure(Outcome.JUDGE_ERROR, "invalid", "no valid verdict")

    with pytest.raises(Failure) as caught:
        await found.score(task, 0, session.transcript, ScoringTools(judge=ScriptedJudge(failure=failure)))
    assert caught.value is failure


@given(values=st.lists(st.integers(0, 50).map(lambda half: half / 2), min_size=4, max_size=4), place=st.integers(0, 3))
def test_the_score_is_the_share_of_a_hundred_points_and_rises_with_each_scale(values: list[float], place: int) -> None:
    verdict = ScalesVerdict(scores=dict(zip(SCALE_NAMES, values, strict=True)))
    lowered = ScalesVerdict(scores=verdict.scores | {SCALE_NAMES[place]: max(0.0, values[place] - 0.5)})

    score, less = rated(TASK, verdict, "judge"), rated(TASK, lowered, "judge")

    assert 0 <= score.score <= 1
    assert score.score == pytest.approx(sum(values) / 100)
    assert score.passed == (score.score >= 0.7)
    assert less.score <= score.score


Verdict = Literal["first", "second", "tie"]


class TestPairwise:
    @pytest.mark.parametrize(
        ("verdicts", "score", "verdict"),
        [
            (("first", "second"), 1.0, "better"),
            (("second", "first"), 0.0, "worse"),
            (("tie", "tie"), 0.5, "tie"),
        ],
    )
    async def test_verdicts_that_agree_are_kept(
        self, tmp_path: Path, verdicts: tuple[Verdict, Verdict], score: float, verdict: str
    ) -> None:
        result, shown = await self.compared(tmp_path, verdicts)

        assert shown == [("Mine.", "Theirs."), ("Theirs.", "Mine.")]
        assert (result.score, result.passed) == (score, score == 1.0)
        assert (result.metrics["position_flip"], result.details["verdict"]) == (False, verdict)
        assert [result.sub_scores[name].earned for name in ("win_rate", "position_flip_rate")] == [score, 0.0]

    @pytest.mark.parametrize(
        "verdicts", [("first", "first"), ("second", "second"), ("tie", "second"), ("first", "tie")]
    )
    async def test_verdicts_that_follow_the_position_are_a_tie_and_counted(
        self, tmp_path: Path, verdicts: tuple[Verdict, Verdict]
    ) -> None:
        result, _ = await self.compared(tmp_path, verdicts)

        assert (result.score, result.passed) == (0.5, False)
        assert (result.metrics["position_flip"], result.details["verdict"]) == (True, "tie")
        assert result.sub_scores["position_flip_rate"].earned == 1.0

    async def compared(self, tmp_path: Path, verdicts: tuple[Verdict, Verdict]) -> tuple[Score, list[tuple[str, str]]]:
        found, task = made(tmp_path, row(1, deliverable_text="Theirs."), mode="pairwise")
        session = await talked(found, task, "Mine.")
        shown: list[tuple[str, str]] = []

        def prefers(first: str, second: str) -> Preference:
            shown.append((first, second))
            return Preference(verdict=verdicts[len(shown) - 1])

        judge = ScriptedJudge(prefers=prefers)
        return await found.score(task, 0, session.transcript, ScoringTools(judge=judge)), shown

    async def test_a_deliverable_nobody_can_read_leaves_the_trial_unscored(self, tmp_path: Path) -> None:
        (tmp_path / "deliverables" / "task-1").mkdir(parents=True)
        (tmp_path / "deliverables" / "task-1" / "memo.docx").write_bytes(b"broken")
        found, task = made(tmp_path, mode="pairwise")
        session = await talked(found, task, "Mine.")

        with pytest.raises(Failure, match=r"judge_error/deliverable_unreadable: .*memo\.docx unreadable"):
            await found.score(task, 0, session.transcript, ScoringTools(judge=ScriptedJudge()))
