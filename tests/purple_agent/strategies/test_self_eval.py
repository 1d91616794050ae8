"""The chain over real sockets: a scripted model in every role, the agent on its A2A server, the evaluator's client."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from starlette.responses import Response

from services.contract.conversation import Iteration, Trace, Usage
from services.green_agent.session import Session, Terms
from services.purple_agent.settings import Settings
from services.purple_agent.strategies.self_eval_prompts import DIGEST
from tests.purple_agent.models_by_hand import Body, completion, heard, http_error, model_server
from tests.purple_agent.serving import Peer, deadline, on_model

FAULTY = "## Findings\nStep 2 is wrong.\n\n## Step by step\n1. right\n2. wrong"
SOUND = "## Findings\nNo fault.\n\n## Step by step\n1. right"
ONE = Usage(input_tokens=100, output_tokens=10, calls=1)
TWO = Usage(input_tokens=200, output_tokens=20, calls=2)
_BEGINNINGS = {
    "Check a proposed": "verify",
    "Below is a report": "decide",
    "Improve a proposed": "refine",
}


def role_of(body: Body) -> str:
    """Which step of the chain asks."""
    last = heard(body)[-1][1]
    return next((role for start, role in _BEGINNINGS.items() if last.startswith(start)), "generate")


class Script:
    """Says the next text of the role that asks, the last one again and again."""

    def __init__(self, **said: str | Sequence[str | Response | Body]) -> None:
        texts: Mapping[str, Any] = {"generate": "first", "verify": FAULTY, "decide": "no", "refine": "second", **said}
        self.said = {role: [said] if isinstance(said, str) else list(said) for role, said in texts.items()}
        self.bodies: dict[str, list[Body]] = defaultdict(list)

    def __call__(self, body: Body, _number: int) -> Response | Body:
        role = role_of(body)
        said = self.said[role][min(len(self.bodies[role]), len(self.said[role]) - 1)]
        self.bodies[role].append(body)
        return completion(said) if isinstance(said, str) else said

    def prompts(self, role: str) -> list[str]:
        """What the role was asked, the last message of each request."""
        return [heard(body)[-1][1] for body in self.bodies[role]]


def chain(iterations: int = 1, **settings: Any) -> Settings:
    return Settings(strategy="self_eval_sequential", iterations=iterations, **settings)


async def told_by(script: Script, settings: Settings, *, tokens: int | None = None) -> tuple[str, Trace]:
    """Answer and trace of one question, as the evaluator receives them."""
    async with model_server(script, tokens=tokens) as model, on_model(model.url, settings) as peer:
        reply = await peer.ask("What is 6 x 7?")
    assert reply.trace is not None
    return reply.text, reply.trace


async def test_a_rejected_solution_is_refined_and_the_whole_chain_arrives_with_the_answer() -> None:
    script = Script(verify=[FAULTY, SOUND], decide=["no", "yes"])

    text, trace = await told_by(script, chain(2))

    assert text == "second"
    assert trace == Trace(
        strategy="self_eval_sequential",
        iterations=(
            Iteration(solution="first", usage={"generate": ONE}),
            Iteration(
                solution="second",
                report=FAULTY,
                decision="no",
                verdict="no",
                usage={"verify": ONE, "decide": ONE, "refine": ONE},
            ),
            Iteration(report=SOUND, decision="yes", verdict="yes", usage={"verify": ONE, "decide": ONE}),
        ),
        settings={
            "prompts": DIGEST,
            "iterations": 2,
            "verify_temperature": 0.0,
            "decide_temperature": 0.0,
            "refine_temperature": 0.7,
            "on_undecided": "keep",
            "max_prompt_tokens": 120_000,
            "stop_after_accepts": 0,
        },
    )
    assert trace.solutions == ("first", "second", "second")


async def test_each_role_sees_the_problem_the_solution_in_force_and_the_findings_it_needs() -> None:
    script = Script()

    await told_by(script, chain(2))

    assert ["What is 6 x 7?" in asked for asked in script.prompts("verify")] == [True, True]
    assert ["<solution>\nfirst\n</solution>" in asked for asked in script.prompts("verify")] == [True, False]
    assert ["<solution>\nsecond\n</solution>" in asked for asked in script.prompts("verify")] == [False, True]
    assert [FAULTY in asked for asked in script.prompts("decide")] == [True, True]
    assert "What is 6 x 7?" not in script.prompts("decide")[0]
    assert ["Step 2 is wrong." in asked for asked in script.prompts("refine")] == [True, True]
    assert not any("2. wrong" in asked for asked in script.prompts("refine"))


async def test_every_role_samples_at_its_own_temperature_with_a_seed_of_its_own() -> None:
    script = Script()
    settings = chain(2, verify_temperature=0.1, decide_temperature=0.2, refine_temperature=0.9)
    env = {"PURPLE_LLM_TEMPERATURE": "0.6", "PURPLE_TOP_P": "0.95"}

    async with model_server(script) as model, on_model(model.url, settings, env=env) as peer:
        await peer.ask("What is 6 x 7?")

    temperatures = {role: {body["temperature"] for body in bodies} for role, bodies in script.bodies.items()}
    assert temperatures == {"generate": {0.6}, "verify": {0.1}, "decide": {0.2}, "refine": {0.9}}
    assert {body["top_p"] for body in model.asked} == {0.95}
    assert len({body["seed"] for body in model.asked}) == 7


async def test_the_first_solution_of_a_chain_is_the_sample_that_direct_draws() -> None:
    drawn: list[Body] = []
    for settings in (Settings(seed=3), chain(seed=3)):
        async with model_server(Script()) as model, on_model(model.url, settings) as peer:
            await peer.ask("What is 6 x 7?")
        drawn.append(model.asked[0])

    assert drawn[0] == drawn[1]


async def test_only_the_first_solution_may_use_tools() -> None:
    call = completion(calls=(("pnl_attribution", {}),))
    script = Script(generate=[call, "first"])

    _, trace = await told_by(script, chain())

    assert [
        bool(body.get("tools")) for role in ("generate", "verify", "decide", "refine") for body in script.bodies[role]
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert trace.iterations[0].usage == {"generate": TWO}


@pytest.mark.parametrize(
    ("decides", "verdict", "solution"),
    [
        (["yes and no", "yes and no"], "undecided", None),
        (["no."], "no", "second"),
        (["The moon is made of cheese.", "Purple."], "undecided", None),
        (["Yes, but step 2 is wrong.", "no"], "no", "second"),
        (["", "yes"], "yes", None),
        (["<think>no or yes?</think>The report finds a gap.\nVERDICT: no"], "no", "second"),
    ],
)
async def test_a_word_that_is_neither_yes_nor_no_is_asked_for_once_more_and_then_decides_nothing(
    decides: list[str], verdict: str, solution: str | None
) -> None:
    script = Script(decide=decides)

    text, trace = await told_by(script, chain())

    step = trace.iterations[1]
    assert (step.verdict, step.solution, text) == (verdict, solution, solution or "first")
    assert len(script.bodies["decide"]) == len(decides)
    assert ["could not be read" in asked for asked in script.prompts("decide")] == [False, True][: len(decides)]
    assert step.decision == "\n".join(said.removeprefix("<think>no or yes?</think>") for said in decides)


async def test_an_undecided_solution_is_refined_where_that_is_asked_for() -> None:
    text, trace = await told_by(Script(decide="yes and no"), chain(on_undecided="refine"))

    assert (text, trace.iterations[1].verdict, trace.iterations[1].solution) == ("second", "undecided", "second")
    assert trace.iterations[1].usage == {"verify": ONE, "decide": TWO, "refine": ONE}


async def test_reasoning_is_part_of_no_solution_and_of_no_report() -> None:
    script = Script(
        generate="<think>6 x 7</think>first", verify=f"<think>hm</think>{FAULTY}", refine="<think>well</think>second"
    )

    text, trace = await told_by(script, chain())

    assert (text, trace.solutions, trace.iterations[1].report) == ("second", ("first", "second"), FAULTY)


@pytest.mark.parametrize(
    ("accepts", "decides", "skipped"),
    [
        (0, ["no", "yes"], ["", "", "", "", "", ""]),
        (1, ["no", "yes"], ["", "", "", "accepted", "accepted", "accepted"]),
        (2, ["no", "yes"], ["", "", "", "", "accepted", "accepted"]),
        (2, ["no", "yes", "no", "yes", "yes"], ["", "", "", "", "", ""]),
    ],
)
async def test_after_enough_accepts_in_a_row_the_solution_is_carried_on_unexamined(
    accepts: int, decides: list[str], skipped: list[str]
) -> None:
    script = Script(decide=decides)

    text, trace = await told_by(script, chain(5, stop_after_accepts=accepts))

    assert (text, [step.skipped for step in trace.iterations]) == ("second", skipped)
    assert len(script.bodies["verify"]) == 5 - skipped.count("accepted")


async def test_a_prompt_above_the_limit_is_not_sent_and_the_solution_is_carried_on() -> None:
    script = Script()

    text, trace = await told_by(script, chain(2, max_prompt_tokens=50))

    assert (text, [step.skipped for step in trace.iterations]) == ("first", ["", "too_long", "too_long"])
    assert (trace.iterations[1].usage, script.bodies["verify"]) == ({}, [])


async def test_the_servers_tokenizer_says_how_long_a_prompt_is() -> None:
    _, short = await told_by(Script(), chain(max_prompt_tokens=50), tokens=50)
    _, long = await told_by(Script(), chain(max_prompt_tokens=50), tokens=51)

    assert (short.iterations[1].skipped, long.iterations[1].skipped) == ("", "too_long")


async def test_a_prompt_the_engine_has_no_room_for_is_too_long_as_well() -> None:
    full = http_error(400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens")
    script = Script(verify=[full, FAULTY])

    text, trace = await told_by(script, chain(2))

    assert (text, [step.skipped for step in trace.iterations]) == ("second", ["", "too_long", ""])


@pytest.mark.parametrize(("role", "skipped"), [("verify", "no_report"), ("refine", "no_refinement")])
@pytest.mark.parametrize(
    "said", [completion("<think>cut", finish="length"), completion(None, refusal="I will not."), completion("")]
)
async def test_a_step_without_a_word_leaves_the_solution_as_it_is(role: str, skipped: str, said: Body) -> None:
    text, trace = await told_by(Script(**{role: [said]}), chain())

    assert (text, trace.iterations[1].solution, trace.iterations[1].skipped) == ("first", None, skipped)


async def test_a_model_that_fails_in_the_middle_of_a_chain_fails_the_message_with_what_it_cost() -> None:
    script = Script(decide=["yes", http_error(402, "Insufficient credits")])

    async with model_server(script) as model, on_model(model.url, chain(3)) as peer:
        end = await peer.outcome("What is 6 x 7?")

    usage = Usage.model_validate_json(end.metadata["assay/usage"])
    assert (end.state, end.artifacts, "assay/trace" in end.metadata) == ("failed", {}, False)
    assert (end.metadata["assay/outcome"], end.metadata["assay/fault"]) == ("infra_error", "payment")
    assert (usage.input_tokens, usage.calls) == (400, 5)


async def test_a_deadline_in_the_middle_of_a_chain_is_no_shorter_chain() -> None:
    settings = chain(3, reply_timeout_s=0.5)

    async with model_server(Script(), hang_on="<findings>") as model, on_model(model.url, settings) as peer:
        end = await peer.outcome("What is 6 x 7?")

    assert (end.state, end.artifacts) == ("failed", {})
    assert (end.metadata["assay/outcome"], end.metadata["assay/fault"]) == ("agent_error", "deadline")


async def test_a_conversation_remembers_the_final_solution_and_shows_all_of_it_to_the_reader() -> None:
    script = Script()

    async with model_server(script) as model, on_model(model.url, chain()) as peer:
        conversation = peer.client.conversation()
        await conversation.ask("What is 6 x 7?", deadline())
        await conversation.ask("And times 2?", deadline())

    assert heard(script.bodies["generate"][1])[1:] == [
        ("user", "What is 6 x 7?"),
        ("assistant", "second"),
        ("user", "And times 2?"),
    ]
    assert "[user]\nWhat is 6 x 7?\n\n[assistant]\nsecond\n\n[user]\nAnd times 2?" in script.prompts("verify")[1]


async def test_a_trace_too_large_to_send_loses_its_oldest_reports_and_not_the_answer() -> None:
    long = "## Findings\n" + "x" * 1_200_000
    script = Script(verify=[long], decide="yes")

    text, trace = await told_by(script, chain(4, max_prompt_tokens=10_000_000))

    assert text == "first"
    assert [len(step.report) > 1_000_000 for step in trace.iterations] == [False, False, False, True, True]
    assert trace.iterations[1].report == "[1200015 characters left out: the trace would be too large]"
    assert [step.verdict for step in trace.iterations[1:]] == ["yes"] * 4


async def test_what_looks_like_a_key_is_masked_in_every_text_of_the_trace_that_green_keeps() -> None:
    key = "sk-" + "a1B2c3D4" * 5
    script = Script(
        generate=f"first {key}", verify=f"{FAULTY} {key}", decide=f"{key}\nVERDICT: no", refine=f"second {key}"
    )

    async with model_server(script) as model, on_model(model.url, chain()) as peer:
        session = _session(peer)
        await session.ask("What is 6 x 7?")

    kept = session.transcript.turns[0].reply
    assert kept is not None
    assert kept.trace is not None
    assert (kept.text, kept.trace.solutions) == ("second [redacted]", ("first [redacted]", "second [redacted]"))
    assert key not in session.transcript.model_dump_json()


def _session(peer: Peer) -> Session:
    terms = Terms(trial="t", sample=0, reply_timeout_s=60.0, deadline=deadline(), places=asyncio.Semaphore(1))
    return Session(peer.client, terms)
