from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.reference_engine.faults import Fault, FaultPlan, FaultSpecError, Kind, parse


def test_a_specification_may_hold_every_option_in_any_order() -> None:
    assert parse("429:retry_after=3:match=a:b=c:rate=0.25:times=2:after=1") == Fault(
        kind=Kind.RATE_LIMITED, rate=0.25, times=2, after=1, match="a:b=c", retry_after=3
    )


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_alone_is_a_specification(kind: Kind) -> None:
    assert parse(kind) == Fault(kind=kind)


@pytest.mark.parametrize(
    "spec", ["", "418", "hang:rate=2", "hang:rate=x", "hang:times=-1", "hang:often=1", "hang:times=1.5"]
)
def test_a_wrong_specification_is_refused_with_the_form_it_should_have(spec: str) -> None:
    with pytest.raises(FaultSpecError, match="expected"):
        parse(spec)


def test_a_fault_with_times_spares_the_retry_of_each_request() -> None:
    plan = FaultPlan([parse("503:times=1")], seed=0)

    first = [plan.choose(body) is not None for body in (b"a", b"b")]
    again = [plan.choose(body) is not None for body in (b"a", b"b")]

    assert (first, again) == ([True, True], [False, False])


def test_a_fault_with_after_spares_the_first_sightings() -> None:
    plan = FaultPlan([parse("503:after=2:times=1")], seed=0)

    assert [plan.choose(b"a") is not None for _ in range(5)] == [False, False, True, False, False]


def test_a_fault_with_match_hits_only_requests_that_hold_the_text() -> None:
    plan = FaultPlan([parse("hang:match=hello"), parse("cut")], seed=0)

    hits = [plan.choose(body) for body in (b"say hello", b"say bye")]

    assert [hit.kind for hit in hits if hit] == [Kind.HANG, Kind.CUT]


@given(st.lists(st.binary(), unique=True, max_size=30), st.integers())
def test_which_requests_are_hit_does_not_depend_on_the_order_of_arrival(bodies: list[bytes], seed: int) -> None:
    plans = [FaultPlan([parse("500:rate=0.5")], seed=seed) for _ in range(2)]

    in_order = {body: plans[0].choose(body) for body in bodies}
    in_reverse = {body: plans[1].choose(body) for body in reversed(bodies)}

    assert in_order == in_reverse


def test_the_rate_is_the_share_of_requests_that_are_hit() -> None:
    plan = FaultPlan([parse("500:rate=0.3")], seed=7)

    hits = sum(plan.choose(b"%d" % number) is not None for number in range(2_000))

    assert 0.25 < hits / 2_000 < 0.35
