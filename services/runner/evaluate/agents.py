"""The agents of an evaluation: a green that plans any data set by request, and a purple with the model under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.contract.endpoints import key_of
from services.contract.results import Section
from services.runner.evaluate.asked import SELF_EVAL, Asked
from services.runner.rollouts.export import BASELINE, EVALUATED
from services.runner.scenario import GREEN, AgentSpec, Scenario

PURPLE: Final = "purple"
NOBODY: Final[Mapping[str, JsonValue]] = {PURPLE: "http://127.0.0.1:9/"}
"""The participants of a request that asks no agent: for a plan, or for given transcripts."""
ADDRESSES: Final = frozenset({"OPENAI_API_BASE", "OPENAI_API_KEY"})
"""Variables of the purple agent that say where the model is, not what it is."""
MOST_AT_ONCE: Final = 1000
"""Trials that the purple agent takes; how many there are at once is for green to say."""
_TOKEN: Final = "ASSAY_GREEN_TOKEN"  # noqa: S105 - the name of a variable
_GREEN_INHERITS: Final = (
    "ASSAY_CACHE",
    "XDG_CACHE_HOME",
    "ASSAY_DATA_FROM",
    "ASSAY_OFFLINE",
    "ASSAY_CONFIG_DIR",
    "ASSAY_SANDBOX_URL",
    "OPENAI_EVAL_API_BASE",
    "OPENAI_EVAL_API_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
)
"""Where data, the sandbox and the judge are. The servers under test are not among them: no model judges itself unawares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One benchmark and one strategy: what becomes one run."""

    benchmark: str
    strategy: str
    trials: int

    @property
    def name(self) -> str:
        """Of its run."""
        return f"{self.strategy} {self.benchmark}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """How the model draws its solutions; None: not sent."""

    temperature: float
    top_p: float | None = None
    top_k: int | None = None


def cases(asked: Asked) -> list[Case]:
    """In the order they are run: benchmark by benchmark."""
    trials = {BASELINE: asked.num_samples or 1, SELF_EVAL: asked.chains or 1}
    return [
        Case(benchmark=name, strategy=strategy, trials=trials[strategy])
        for name in asked.names
        for strategy in asked.ways
    ]


def drawn(section: Section, *, trials: int) -> Drawn:
    """The usual sampling: code by temperature 0.2, several samples by 0.8; mathematics by 0.6, top_p 0.95, top_k 20."""
    if section is Section.MATH:
        return Drawn(temperature=0.6, top_p=0.95, top_k=20)
    return Drawn(temperature=0.2 if trials == 1 else 0.8)


def green_here() -> AgentSpec:
    """The evaluator on a free port of this machine. Without a suite: a request may name any data set."""
    return AgentSpec(
        role=GREEN,
        cmd=f"green-agent serve --auth-token-env {_TOKEN}",
        env={},
        inherit_env=_GREEN_INHERITS,
        token_env=_TOKEN,
        free_port=True,
    )


def planning() -> Scenario:
    """Only the evaluator, to be asked for plans."""
    return Scenario(name="evaluate", green=green_here(), participants=())


def request_config(asked: Asked, case: Case) -> dict[str, JsonValue]:
    """What green is asked."""
    judge: dict[str, JsonValue] = {"model": asked.judge, "api_base": asked.judge_base, "provider": asked.judge_provider}
    return {
        "datasets": [case.benchmark],
        "num_trials": case.trials,
        "seed": asked.seed,
        "timeout_seconds": asked.reply_timeout_s,
        "max_concurrency": asked.concurrency,
        **({} if asked.num_tasks is None else {"num_tasks": asked.num_tasks}),
        **(
            {}
            if asked.judge is None
            else {"judge": {name: value for name, value in judge.items() if value is not None}}
        ),
    }


def scenario(
    asked: Asked, case: Case, *, section: Section, model: str, urls: Sequence[str], variables: Mapping[str, str]
) -> Scenario:
    """Everything a run of the case needs; it is stored, so that `assay resume` can start it again."""
    sampling = drawn(section, trials=case.trials)
    told: dict[str, JsonValue] = {
        "strategy": case.strategy,
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": asked.max_tokens,
        "iterations": _iterations(asked, case),
    }
    return Scenario(
        name=case.name,
        green=green_here(),
        participants=(_purple(asked, case, sampling, model=model, urls=urls, variables=variables),),
        config={**request_config(asked, case), "model_id": model, EVALUATED: told},
    )


def _iterations(asked: Asked, case: Case) -> int | None:
    return (8 if asked.iterations is None else asked.iterations) if case.strategy == SELF_EVAL else None


def _purple(
    asked: Asked, case: Case, sampling: Drawn, *, model: str, urls: Sequence[str], variables: Mapping[str, str]
) -> AgentSpec:
    iterations = _iterations(asked, case)
    args = [
        *("--strategy", case.strategy),
        *("--max-tool-calls", "0"),
        *("--max-concurrency", str(MOST_AT_ONCE)),
        *("--reply-timeout", f"{asked.reply_timeout_s:g}"),
        *(() if iterations is None else ("--iterations", str(iterations))),
    ]
    drawing = {"PURPLE_TOP_P": sampling.top_p, "PURPLE_TOP_K": sampling.top_k}
    return AgentSpec(
        role=PURPLE,
        cmd="purple-agent serve",
        args=tuple(args),
        free_port=True,
        env={
            "LLM_PROVIDER": "openai",
            "LLM_MODEL": model.replace("$", "$$"),
            "OPENAI_API_BASE": ",".join(urls),
            # A reference: the key itself never reaches the journal.
            "OPENAI_API_KEY": "${OPENAI_API_KEY}" if key_of(variables, "OPENAI_API_KEY") is not None else "EMPTY",
            "PURPLE_LLM_TEMPERATURE": str(sampling.temperature),
            **{name: str(value) for name, value in drawing.items() if value is not None},
            "PURPLE_MAX_TOKENS": str(asked.max_tokens),
            "PURPLE_SEED": str(asked.seed),
        },
    )
