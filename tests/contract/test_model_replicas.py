"""The breaker of a server as a state machine under a clock of our own, and the order in which a trial prefers servers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.contract.model_budget import ContextBudget
from services.contract.model_call import Dialect
from services.contract.model_replicas import LONGEST_OPEN_S, OPEN_S, Breaker, Replica, Replicas
from tests.contract.calling import KEY


@dataclass(slots=True)
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def breaker() -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(clock=clock), clock


def state_of(tested: Breaker) -> str:
    """As a plain text: time changes it unseen by a type checker."""
    return tested.state


def test_a_fault_closes_the_way_for_ten_seconds_and_then_for_twice_as_long_up_to_two_minutes() -> None:
    tested, clock = breaker()
    spans = []
    for _ in range(6):
        assert tested.admits
        assert tested.failed()
        opened = clock.now
        while state_of(tested) == "open":
            clock.now += 0.5
        spans.append(clock.now - opened)

    assert spans == [10, 20, 40, 80, 120, 120]


def test_after_a_success_the_next_fault_costs_ten_seconds_again() -> None:
    tested, clock = breaker()
    for _ in range(3):
        tested.failed()
        clock.now += 200
    tested.succeeded()
    assert state_of(tested) == "closed"

    tested.failed()
    clock.now += OPEN_S

    assert state_of(tested) == "half_open"


def test_half_open_lets_one_call_pass_at_a_time() -> None:
    tested, clock = breaker()
    tested.failed()
    clock.now += OPEN_S

    with tested.passing():
        assert not tested.admits
    assert tested.admits  # that call was cancelled: it says nothing, and the next one tries


def test_calls_that_were_on_their_way_when_it_opened_prolong_nothing() -> None:
    tested, clock = breaker()
    assert tested.failed()
    clock.now += OPEN_S / 2

    assert not tested.failed()
    clock.now += OPEN_S / 2

    assert tested.admits


def test_a_server_that_listens_again_is_tried_at_once() -> None:
    tested, _ = breaker()
    tested.failed()
    tested.returned()

    assert tested.state == "half_open"


def test_a_server_that_was_never_lost_cannot_return() -> None:
    tested, _ = breaker()
    tested.returned()

    assert tested.state == "closed"


class AnyBreaker(RuleBasedStateMachine):
    """Whatever calls, faults and time do: no way stays shut for longer than two minutes, and half open is for one."""

    @initialize()
    def fresh(self) -> None:
        self.clock = Clock()
        self.tested = Breaker(clock=self.clock)
        self.passing = ExitStack()
        self.trying = False

    @rule(seconds=st.floats(0, 150))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.tested.admits)
    @rule()
    def a_call_begins(self) -> None:
        was = self.tested.state
        self.passing.enter_context(self.tested.passing())
        if was == "half_open":
            assert not self.tested.admits, "a second call could try the server"
            self.trying = True

    @rule()
    def a_call_succeeds(self) -> None:
        self.tested.succeeded()
        assert self.tested.state == "closed"
        assert self.tested.admits

    @rule()
    def a_call_fails(self) -> None:
        was, opened = self.tested.state, self.tested.failed()
        assert opened == (was != "open")
        assert self.tested.state == "open"

    @rule()
    def the_server_listens(self) -> None:
        was = self.tested.state
        self.tested.returned()
        assert self.tested.state == ("closed" if was == "closed" else "half_open")

    @rule()
    def all_calls_end(self) -> None:
        self.passing.close()
        self.trying = False
        assert self.tested.admits == (self.tested.state != "open")

    @invariant()
    def is_never_shut_for_long(self) -> None:
        if not hasattr(self, "tested") or self.trying:
            return
        later = Clock(self.clock.now + LONGEST_OPEN_S)
        assert replace(self.tested, clock=later).admits

    def teardown(self) -> None:
        if hasattr(self, "passing"):
            self.passing.close()


TestAnyBreaker = AnyBreaker.TestCase


def servers(count: int, clock: Clock) -> Replicas:
    """Servers that are chosen and never asked."""
    nobody = cast("Dialect", None)
    return Replicas(
        all=[
            Replica(
                url=f"http://host-{number}/v1",
                dialect=nobody,
                budget=ContextBudget(dialect=nobody, limit=1),
                breaker=Breaker(clock=clock),
            )
            for number in range(count)
        ],
        clock=clock,
    )


def chosen(replicas: Replicas, trial: int, failed: tuple[str, ...] = ()) -> str:
    return replicas.choose(replace(KEY, trial=trial), failed).url


@given(count=st.integers(2, 8), lost=st.integers(0, 7), trial=st.integers(0, 10_000))
def test_when_a_server_is_lost_only_its_trials_move_and_all_return_with_it(count: int, lost: int, trial: int) -> None:
    replicas = servers(count, Clock())
    gone = replicas.all[lost % count]
    before = chosen(replicas, trial)

    gone.breaker.failed()
    during = chosen(replicas, trial)
    gone.breaker.succeeded()

    assert during != gone.url
    assert before in {during, gone.url}
    assert chosen(replicas, trial) == before


@pytest.mark.parametrize("count", [2, 3])
def test_trials_spread_evenly_and_those_of_a_lost_server_spread_over_the_others(count: int) -> None:
    replicas = servers(count, Clock())
    gone = replicas.all[0]
    gone.breaker.failed()

    whole = [chosen(servers(count, Clock()), trial) for trial in range(600)]
    during = [chosen(replicas, trial) for trial in range(600)]

    assert all(whole.count(one.url) > 0.8 * 600 / count for one in replicas.all)
    assert all(during.count(one.url) > 0.8 * 600 / (count - 1) for one in replicas.all if one is not gone)
    assert gone.url not in during


def test_when_every_server_is_lost_the_one_lost_longest_ago_is_asked_then_the_other() -> None:
    clock = Clock()
    replicas = servers(2, clock)
    second, first = replicas.all
    for one in (first, second):
        one.breaker.failed()
        clock.now += 1

    assert {chosen(replicas, trial) for trial in range(20)} == {first.url}
    assert {chosen(replicas, trial, (first.url,)) for trial in range(20)} == {second.url}


def test_a_call_that_a_server_failed_prefers_another_that_may_be_asked_and_else_that_one() -> None:
    replicas = servers(2, Clock())
    first, second = replicas.all
    assert {chosen(replicas, trial, (first.url,)) for trial in range(20)} == {second.url}

    second.breaker.failed()

    assert {chosen(replicas, trial, (first.url,)) for trial in range(20)} == {first.url}
