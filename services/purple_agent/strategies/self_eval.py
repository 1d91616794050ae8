"""`self_eval_sequential`: the model checks its own solution again and again, and mends it when it finds it wrong.

One chain a trial, so that several trials are independent samples. Nothing here sees an answer, a hidden test or a score.
Source: code-and-math specification 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from services.contract.conversation import Iteration, Opinion, Role, Trace
from services.contract.model_call import ChatMessage, Sampling
from services.contract.outcomes import AgentFailure
from services.purple_agent.models.reasoning import without_reasoning
from services.purple_agent.models.session import ModelSession
from services.purple_agent.settings import Settings
from services.purple_agent.strategies import self_eval_prompts as prompts
from services.purple_agent.strategies.base import Solved, Strategy
from services.purple_agent.strategies.reports import findings_of, opinion_of
from services.purple_agent.tools.toolbox import Toolbox

NAME: Final = "self_eval_sequential"
TOO_LONG: Final = "too_long"
"""The prompt of a step exceeds the limit; the solution is carried on."""
NO_REPORT: Final = "no_report"
"""The model verified without a word that is left when its reasoning is taken away, or refused."""
NO_REFINEMENT: Final = "no_refinement"
"""Likewise when it was to refine."""
ACCEPTED: Final = "accepted"
"""Not held, because enough iterations in a row accepted the solution."""


class _CutShort(Exception):  # noqa: N818 - not an error: the iteration ends early and says why
    """Why an iteration is not held to its end; its text is what `Iteration.skipped` says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfEvalSequential:
    """The chain. `first` makes the first solution, with tools; verifying, deciding and refining have none."""

    first: Strategy
    settings: Settings

    async def solve(self, history: Sequence[ChatMessage], session: ModelSession, toolbox: Toolbox) -> Solved:
        """See `Strategy`. A model call that fails fails the message: a chain that broke off is not a shorter chain."""
        solved = await self.first.solve(history, session, toolbox)
        iterations = [Iteration(solution=solved.text, usage=dict(session.take_usage()))]
        chain = _Chain(problem=_problem(history), solution=solved.text, session=session, settings=self.settings)
        for _ in range(self.settings.iterations):
            iterations.append(Iteration(skipped=ACCEPTED) if self._is_accepted(iterations) else await chain.step())
        return Solved(
            text=chain.solution,
            messages=(*solved.messages[:-1], ChatMessage(role="assistant", content=chain.solution)),
            trace=Trace(strategy=NAME, iterations=tuple(iterations), settings=_told(self.settings)),
        )

    def _is_accepted(self, iterations: Sequence[Iteration]) -> bool:
        needed = self.settings.stop_after_accepts
        if iterations[-1].skipped == ACCEPTED:
            return True
        return needed > 0 and [step.verdict for step in iterations[-needed:]] == ["yes"] * needed


@dataclass(kw_only=True, slots=True)
class _Chain:
    """One chain on its way."""

    problem: str
    solution: str
    session: ModelSession
    settings: Settings

    async def step(self) -> Iteration:
        """Verify, decide and, where the verdict asks for it, refine. Raises AgentFailure."""
        report, decision, skipped = "", "", ""
        verdict: Opinion | None = None
        refined: str | None = None
        try:
            report = await self._report()
            decision, verdict = await self._decision(report)
            if verdict == "no" or (verdict == "undecided" and self.settings.on_undecided == "refine"):
                refined = await self._refinement(report)
        except _CutShort as why:
            skipped = str(why)
        self.solution = refined or self.solution
        return Iteration(
            solution=refined,
            report=report,
            decision=decision,
            verdict=verdict,
            skipped=skipped,
            usage=dict(self.session.take_usage()),
        )

    async def _report(self) -> str:
        prompt = prompts.verify(problem=self.problem, solution=self.solution)
        return await self._said("verify", prompt, self.settings.verify_temperature) or _cut_short(NO_REPORT)

    async def _decision(self, report: str) -> tuple[str, Opinion]:
        """What the model said, and the verdict in it. Asked once more when there is none."""
        temperature = self.settings.decide_temperature
        said = await self._said("decide", prompts.decide(report=report), temperature)
        verdict = opinion_of(said)
        if verdict != "undecided":
            return said, verdict
        again = await self._said("decide", prompts.decide_again(report=report), temperature)
        return f"{said}\n{again}", opinion_of(again)

    async def _refinement(self, report: str) -> str:
        prompt = prompts.refine(problem=self.problem, solution=self.solution, findings=findings_of(report))
        return await self._said("refine", prompt, self.settings.refine_temperature) or _cut_short(NO_REFINEMENT)

    async def _said(self, role: Role, prompt: str, temperature: float) -> str:
        """What the model answers, its reasoning left out; empty when it refuses."""
        if not await self.session.fits(prompt, most_tokens=self.settings.max_prompt_tokens):
            _cut_short(TOO_LONG)
        message = ChatMessage(role="user", content=prompt)
        try:
            completion = await self.session.complete([message], role=role, sampling=Sampling(temperature=temperature))
        except AgentFailure as failure:
            if failure.kind != "context_overflow":
                raise
            _cut_short(TOO_LONG)  # The engine's limit is the lower one.
        return "" if completion.refused else without_reasoning(completion.text)


def _cut_short(why: str) -> NoReturn:
    raise _CutShort(why)


def _problem(history: Sequence[ChatMessage]) -> str:
    """What was asked; in a longer conversation, all that was said."""
    said = [message for message in history if message.role in {"user", "assistant"} and message.content]
    if len(said) == 1:
        return str(said[0].content)
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in said)


def _told(settings: Settings) -> dict[str, str | int | float | None]:
    return {"prompts": prompts.DIGEST} | {
        name: getattr(settings, name)
        for name in (
            "iterations",
            "verify_temperature",
            "decide_temperature",
            "refine_temperature",
            "on_undecided",
            "max_prompt_tokens",
            "stop_after_accepts",
        )
    }
