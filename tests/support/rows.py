"""Small factories of plans and rows, for tests that need results without an assessment."""

from services.contract.assessment import Plan, PlannedBenchmark, PlannedTrial, plan_digest
from services.contract.outcomes import POLICY, Outcome
from services.contract.results import ErrorInfo, Section, TaskResult


def planned(benchmark: str, section: Section, *, tasks: int, trials: int = 1) -> list[PlannedTrial]:
    """`tasks` x `trials` trials of one benchmark, ids `<benchmark>-0` and on."""
    return [
        PlannedTrial(
            benchmark=benchmark,
            section=section,
            stratum=benchmark,
            task_id=f"{benchmark}-{number}",
            task_digest=f"sha256:{number}",
            trial=trial,
        )
        for number in range(tasks)
        for trial in range(trials)
    ]


def plan_of(*trials: PlannedTrial, sub_scores: dict[str, tuple[str, ...]] | None = None) -> Plan:
    """A plan of exactly these trials, equal section weights."""
    names = dict.fromkeys((trial.benchmark, trial.section) for trial in trials)
    benchmarks = tuple(
        PlannedBenchmark(
            name=name,
            section=section,
            dataset_digest="sha256:0",
            scorer="1",
            sub_scores=(sub_scores or {}).get(name, ()),
            tasks=len({trial.task_id for trial in trials if trial.benchmark == name}),
        )
        for name, section in names
    )
    return Plan(
        digest=plan_digest(seed=1, trials=trials, benchmarks=benchmarks),
        seed=1,
        strategy="stratified",
        suite="test",
        num_trials=1,
        num_tasks=len({(trial.benchmark, trial.task_id) for trial in trials}),
        benchmarks=benchmarks,
        section_weights=dict.fromkeys(Section, 0.2),
        trials=trials,
    )


def row(trial: PlannedTrial, outcome: Outcome = Outcome.SCORED, *, score: float = 0.0) -> TaskResult:
    """The row of a planned trial; `score` counts only for `scored`."""
    counted = POLICY[outcome].counts
    return TaskResult(
        task_id=trial.task_id,
        benchmark=trial.benchmark,
        section=trial.section,
        stratum=trial.stratum,
        trial=trial.trial,
        outcome=outcome,
        score=(score if outcome is Outcome.SCORED else 0.0) if counted else None,
        passed=outcome is Outcome.SCORED and score >= 0.7,
        error=None if outcome is Outcome.SCORED else ErrorInfo(kind="test", message="made by a test"),
    )
