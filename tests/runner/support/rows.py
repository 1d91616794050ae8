"""Plans and rows made up for tests of the runner; the scripted green plans and answers with the same ones."""

from __future__ import annotations

from services.contract.assessment import Plan, PlannedBenchmark, PlannedTrial, plan_digest
from services.contract.conversation import ModelFacts, Reply, Transcript, Turn, Usage
from services.contract.outcomes import POLICY, Outcome
from services.contract.results import Attempt, Digests, ErrorInfo, Latency, Section, SubScore, TaskResult
from services.runner.journal import RunRecord

SECTIONS = {"alpha": Section.OPTIONS_TRADING, "beta": Section.CODE}


def make_plan(*, tasks: int = 4, trials: int = 1, seed: int = 7) -> Plan:
    planned = tuple(
        PlannedTrial(
            benchmark=name,
            section=section,
            stratum=f"{name}-kind",
            task_id=f"{name}-{number}",
            task_digest=f"sha256:{name}{number}",
            trial=trial,
        )
        for number in range(tasks)
        for name, section in SECTIONS.items()
        for trial in range(trials)
    )
    benchmarks = tuple(
        PlannedBenchmark(name=name, section=section, dataset_digest="sha256:d", scorer="1", tasks=tasks)
        for name, section in SECTIONS.items()
    )
    return Plan(
        digest=plan_digest(seed=seed, trials=planned, benchmarks=benchmarks),
        seed=seed,
        strategy="stratified",
        suite="made up",
        num_trials=trials,
        num_tasks=tasks * len(SECTIONS),
        benchmarks=benchmarks,
        section_weights=dict.fromkeys(SECTIONS.values(), 0.5),
        trials=planned,
    )


def make_row(
    trial: PlannedTrial,
    outcome: Outcome = Outcome.SCORED,
    *,
    score: float = 1.0,
    said: str = "42",
    question: str = "How much?",
    attempts: int = 0,
) -> TaskResult:
    counts = POLICY[outcome].counts
    reply = Reply(
        text=said,
        latency_s=0.5,
        usage=Usage(input_tokens=120, output_tokens=40, calls=1),
        model=ModelFacts(provider="openai", model="m-1"),
    )
    transcript = Transcript(turns=(Turn(question=question, reply=reply),))
    return TaskResult(
        task_id=trial.task_id,
        benchmark=trial.benchmark,
        section=trial.section,
        stratum=trial.stratum,
        trial=trial.trial,
        outcome=outcome,
        score=(score if outcome is Outcome.SCORED else 0.0) if counts else None,
        passed=outcome is Outcome.SCORED and score >= 0.7,
        metrics={"error_pct": 1.25, "parsed": True} if outcome is Outcome.SCORED else {},
        sub_scores={"pnl_accuracy": SubScore(earned=score, possible=1.0)} if outcome is Outcome.SCORED else {},
        answer=said if outcome is Outcome.SCORED else "",
        explanation="compared with the right number" if outcome is Outcome.SCORED else "",
        scored_by="rule" if outcome is Outcome.SCORED else "",
        transcript_id="t-1",
        usage=Usage(input_tokens=120, output_tokens=40, calls=1),
        latency=Latency(total_s=0.75, agent_s=0.5, judge_s=0.25),
        attempts=tuple(
            Attempt(
                outcome=Outcome.INFRA_ERROR,
                error=ErrorInfo(kind="http_503", message="Service Unavailable"),
                total_s=0.1,
                transcript=Transcript(turns=(Turn(question=question, error="503"),)),
            )
            for _ in range(attempts)
        ),
        error=None if outcome is Outcome.SCORED else ErrorInfo(kind="made_up", message="made by a test"),
        digests=Digests(dataset="sha256:d", scorer="1", prompt="sha256:p"),
        transcript=transcript,
    )


def make_run(
    plan: Plan, *, run_id: str = "20260101-000000-test-0000", created: str = "2026-01-01T00:00:00+00:00"
) -> RunRecord:
    return RunRecord(
        id=run_id,
        created=created,
        name="test",
        scenario={
            "name": "test",
            "path": None,
            "green": {"role": "green", "endpoint": "http://127.0.0.1:1/"},
            "participants": [{"role": "purple", "endpoint": "http://127.0.0.1:2/"}],
            "config": {},
        },
        request={"participants": {"purple": "http://127.0.0.1:2/"}, "config": {}},
        plan=plan,
        provenance={"agents": {"purple": {"name": "Scripted purple", "version": "1"}}},
    )
