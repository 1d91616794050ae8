from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.assessment import Strategy
from services.green_agent.benchmarks.base import Task
from services.green_agent.planning import Pick, PlanningError, Pool, allocate, named, select, shard

STRATEGIES: list[Strategy] = ["stratified", "random", "weighted"]


def pool(benchmark: str, sizes: dict[str, int], *, weight: float = 1.0, shuffle: bool = False) -> Pool:
    tasks = tuple(
        Task(id=f"{benchmark}-{stratum}-{n}", stratum=stratum, prompt="?", digest="sha256:0")
        for stratum, size in sizes.items()
        for n in range(size)
    )
    return Pool(entry=benchmark, benchmark=benchmark, weight=weight, tasks=tasks, shuffle=shuffle)


def ids(picks: tuple[Pick, ...]) -> list[str]:
    return [pick.task.id for pick in picks]


@pytest.mark.parametrize(
    ("weights", "total", "caps", "expected"),
    [
        ([0.5, 1, 2], 100, [999] * 3, [14, 29, 57]),
        ([0.5, 1, 2], 100, [10, 999, 999], [10, 30, 60]),
        ([1, 1, 1, 1], 9, [1, 2, 8, 8], [1, 2, 3, 3]),
    ],
)
def test_allocate_gives_the_published_shares(
    weights: list[float], total: int, caps: list[int], expected: list[int]
) -> None:
    names = [f"s{n}" for n in range(len(weights))]

    given_shares = allocate(
        total, weights=dict(zip(names, weights, strict=True)), caps=dict(zip(names, caps, strict=True)), seed=42
    )

    assert list(given_shares.values()) == expected


@given(
    st.integers(0, 300),
    st.lists(st.tuples(st.floats(0.1, 5), st.integers(0, 80)), min_size=1, max_size=8),
    st.integers(),
)
def test_allocate_never_exceeds_a_cap_and_hands_out_everything_it_can(
    total: int, strata: list[tuple[float, int]], seed: int
) -> None:
    caps = {f"s{n}": cap for n, (_, cap) in enumerate(strata)}
    weights = {f"s{n}": weight for n, (weight, _) in enumerate(strata)}

    shares = allocate(total, weights=weights, caps=caps, seed=seed)

    assert all(0 <= shares[name] <= caps[name] for name in caps)
    assert sum(shares.values()) == min(total, sum(caps.values()))


def test_stratified_gives_benchmarks_and_task_types_equal_shares() -> None:
    pools = [pool("humaneval", {"humaneval": 164}), pool("options", {"a": 30, "b": 30, "c": 30})]

    picks = select(pools, strategy="stratified", total=24, seed=42).picks

    assert Counter(pick.stratum for pick in picks) == {
        ("humaneval", "humaneval"): 12,
        ("options", "a"): 4,
        ("options", "b"): 4,
        ("options", "c"): 4,
    }


def test_a_plan_stopped_early_stays_balanced() -> None:
    pools = [pool("x", {"a": 5, "b": 5}), pool("y", {"c": 5})]

    picks = select(pools, strategy="stratified", total=None, seed=1).picks

    assert all(len({pick.stratum for pick in picks[turn : turn + 3]}) == 3 for turn in range(0, 15, 3))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_the_entries_changes_nothing(strategy: Strategy) -> None:
    pools = [pool("x", {"a": 9, "b": 4}), pool("y", {"c": 7}), pool("z", {"d": 3}, weight=2.0)]

    first = select(pools, strategy=strategy, total=12, seed=5).picks
    again = select(pools[::-1], strategy=strategy, total=12, seed=5).picks

    assert ids(first) == ids(again)


def test_shuffled_rows_give_the_same_selection_in_whatever_order_they_come() -> None:
    straight = pool("x", {"a": 20}, shuffle=True)
    reverse = Pool(entry="x", benchmark="x", weight=1.0, tasks=straight.tasks[::-1], shuffle=True)

    first, again = (select([p], strategy="stratified", total=6, seed=9).picks for p in (straight, reverse))

    assert ids(first) == ids(again)
    assert ids(first) != [f"x-a-{n}" for n in range(6)]


def test_sequential_takes_the_head_as_written() -> None:
    pools = [pool("y", {"c": 2}), pool("x", {"a": 2})]

    assert ids(select(pools, strategy="sequential", total=3, seed=1).picks) == ["y-c-0", "y-c-1", "x-a-0"]


def test_a_larger_random_plan_contains_the_smaller_one() -> None:
    pools = [pool("x", {"a": 30}), pool("y", {"b": 30})]

    small, large = (set(ids(select(pools, strategy="random", total=n, seed=3).picks)) for n in (10, 25))

    assert small < large


def test_weighted_follows_the_weights() -> None:
    pools = [pool("x", {"a": 99}, weight=1.0), pool("y", {"b": 99}, weight=3.0)]

    picks = select(pools, strategy="weighted", total=40, seed=3).picks

    assert Counter(pick.benchmark for pick in picks) == {"x": 10, "y": 30}


def test_asking_for_more_than_there_is_takes_all_and_says_so() -> None:
    selection = select([pool("x", {"a": 3})], strategy="stratified", total=10**6, seed=1)

    assert len(selection.picks) == 3
    assert [(s.requested, s.available) for s in selection.shortfalls] == [(10**6, 3)]


def test_an_empty_selection_is_refused() -> None:
    with pytest.raises(PlanningError, match="the selection is empty"):
        select([], strategy="stratified", total=5, seed=1)


def test_named_tasks_come_in_the_order_asked_and_unknown_ones_are_named() -> None:
    pools = [pool("x", {"a": 3})]

    assert ids(named(pools, ["x-a-2", "x-a-0", "x-a-2"]).picks) == ["x-a-2", "x-a-0"]
    with pytest.raises(PlanningError, match="'x-a-9'"):
        named(pools, ["x-a-0", "x-a-9"])


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 20))
def test_shards_are_disjoint_cover_the_plan_and_differ_by_at_most_one(sizes: list[int], count: int) -> None:
    tasks = pool("x", {f"s{n}": size for n, size in enumerate(sizes)})
    whole = select([tasks], strategy="stratified", total=None, seed=1).picks if tasks.tasks else ()

    shards = [shard(whole, index=index, count=count) for index in range(count)]

    assert sorted(task_id for part in shards for task_id in ids(part)) == sorted(ids(whole))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for stratum in {pick.stratum for pick in whole}:
        per_shard = [sum(pick.stratum == stratum for pick in part) for part in shards]
        assert max(per_shard) - min(per_shard) <= 1


def test_a_shard_keeps_the_running_order() -> None:
    whole = select([pool("x", {"a": 9, "b": 9})], strategy="stratified", total=None, seed=1).picks
    position = {pick.task.id: place for place, pick in enumerate(whole)}

    places = [position[task_id] for task_id in ids(shard(whole, index=1, count=3))]

    assert all(earlier < later for earlier, later in pairwise(places))
