from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

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


def entry(name: str, tasks: list[Task], *, identity: str, **keys: Any) -> Pool:
    return Pool(
        entry=name, identity=identity, benchmark="x", weight=keys.pop("weight", 1.0), tasks=tuple(tasks), **keys
    )


def task(name: str, *, stratum: str = "a", group: str = "") -> Task:
    return Task(id=name, stratum=stratum, prompt="?", digest="sha256:0", limit_group=group)


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
    assert [(s.stratum, s.requested, s.available) for s in selection.shortfalls] == [("total", 10**6, 3)]


def test_an_empty_selection_is_refused() -> None:
    with pytest.raises(PlanningError, match="the selection is empty"):
        select([], strategy="stratified", total=5, seed=1)


def test_named_tasks_come_in_the_order_asked_and_unknown_ones_are_named() -> None:
    pools = [pool("x", {"a": 3})]

    assert ids(named(pools, ["x-a-2", "x-a-0", "x-a-2"]).picks) == ["x-a-2", "x-a-0"]
    with pytest.raises(PlanningError, match="'x-a-9'"):
        named(pools, ["x-a-0", "x-a-9"])


@st.composite
def wholes(draw: st.DrawFn) -> tuple[Pick, ...]:
    """A plan's tasks in running order: up to 500, in up to 8 strata of 2 benchmarks, balanced, random or as they come."""
    total, strata = draw(st.integers(0, 500)), draw(st.integers(1, 8))
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=strata - 1, max_size=strata - 1)))
    sizes = [end - start for start, end in pairwise([0, *cuts, total])]
    pools = [pool(name, {f"s{n}": size for n, size in enumerate(sizes[start::2])}) for start, name in enumerate("xy")]
    tasks = [found for found in pools if found.tasks]
    strategy = draw(st.sampled_from([*STRATEGIES, "sequential"]))
    return select(tasks, strategy=strategy, total=None, seed=1).picks if tasks else ()


@given(wholes(), st.integers(1, 20))
def test_shards_are_disjoint_cover_the_plan_in_its_order_and_differ_by_at_most_one(
    whole: tuple[Pick, ...], count: int
) -> None:
    shards = [shard(whole, index=index, count=count) for index in range(count)]

    place = {pick.task.id: number for number, pick in enumerate(whole)}
    assert sorted(task_id for part in shards for task_id in ids(part)) == sorted(place)
    assert all(place[first] < place[second] for part in shards for first, second in pairwise(ids(part)))
    assert [len(part) for part in shards] == [len(range(index, len(whole), count)) for index in range(count)]
    for stratum in {pick.stratum for pick in whole}:
        per_shard = [sum(pick.stratum == stratum for pick in part) for part in shards]
        assert max(per_shard) - min(per_shard) <= 1


def test_two_shards_of_a_round_robin_over_two_strata_get_both_strata() -> None:
    whole = select([pool("x", {"a": 4, "b": 4})], strategy="stratified", total=None, seed=1).picks

    strata = [Counter(pick.task.stratum for pick in shard(whole, index=index, count=2)) for index in (0, 1)]

    assert strata == [{"a": 2, "b": 2}, {"a": 2, "b": 2}]


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ({"biz": 3, "synthetic": 4, "options": 3}, 10, {"biz": 3, "synthetic": 4, "options": 3}),
        (
            {"biz": 700, "pr": 400, "synthetic": 15, "options": 14, "crypto": 12, "gdpval": 50},
            1000,
            {"biz": 509, "pr": 400, "synthetic": 15, "options": 14, "crypto": 12, "gdpval": 50},
        ),
        (
            {"biz": 700, "pr": 400, "synthetic": 50, "options": 50, "crypto": 12, "gdpval": 50},
            1000,
            {"biz": 438, "pr": 400, "synthetic": 50, "options": 50, "crypto": 12, "gdpval": 50},
        ),
    ],
)
def test_the_guides_pools_give_the_published_plans(sizes: dict[str, int], total: int, expected: dict[str, int]) -> None:
    pools = [pool(name, {f"{name}-t": size}) for name, size in sizes.items()]

    picks = select(pools, strategy="stratified", total=total, seed=42).picks

    assert Counter(pick.benchmark for pick in picks) == expected


SIZES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 12), min_size=1, max_size=4)
ENTRIES = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z"]), SIZES, st.sampled_from([0.5, 1.0, 2.0]), st.booleans()),
    min_size=1,
    max_size=5,
)


def labelled(entries: list[tuple[str, dict[str, int], float, bool]], order: list[int]) -> list[Pool]:
    """The entries in some order, labelled by their place as a suite does."""
    pools = []
    for place, number in enumerate(order):
        benchmark, sizes, weight, shuffle = entries[number]
        made = pool(benchmark, {f"{number % 2}{stratum}": size for stratum, size in sizes.items()}, weight=weight)
        identity = repr(sorted(sizes.items())) + f"{weight} {shuffle} {number % 2}"
        pools.append(replace(made, entry=f"{benchmark}#{place}", identity=identity, shuffle=shuffle))
    return pools


@given(ENTRIES, st.sampled_from(STRATEGIES), st.integers(1, 40), st.integers(0, 9), st.randoms(use_true_random=False))
def test_permuted_entries_give_the_same_tasks_in_the_same_order(
    entries: list[tuple[str, dict[str, int], float, bool]],
    strategy: Strategy,
    total: int,
    seed: int,
    shuffled: Random,
) -> None:
    order = list(range(len(entries)))
    there = select(labelled(entries, order), strategy=strategy, total=total, seed=seed, type_limits={"x": 5})
    shuffled.shuffle(order)

    back = select(labelled(entries, order), strategy=strategy, total=total, seed=seed, type_limits={"x": 5})

    assert [(pick.benchmark, pick.task.id) for pick in there.picks] == [
        (pick.benchmark, pick.task.id) for pick in back.picks
    ]


@given(SIZES, st.sampled_from(STRATEGIES), st.integers(1, 30), st.integers(0, 9), st.randoms(use_true_random=False))
def test_permuted_rows_of_a_shuffled_entry_give_the_same_plan(
    sizes: dict[str, int], strategy: Strategy, total: int, seed: int, shuffled: Random
) -> None:
    straight = pool("x", sizes, shuffle=True)
    rows = list(straight.tasks)
    shuffled.shuffle(rows)

    first, again = (
        select([one], strategy=strategy, total=total, seed=seed).picks
        for one in (straight, replace(straight, tasks=tuple(rows)))
    )

    assert ids(first) == ids(again)


@given(SIZES, SIZES, st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))
def test_a_random_plan_of_fewer_tasks_is_part_of_one_of_more(
    sizes: dict[str, int], others: dict[str, int], few: int, more: int, seed: int
) -> None:
    pools = [pool("x", sizes), pool("y", others)]

    small = select(pools, strategy="random", total=few, seed=seed).picks
    large = select(pools, strategy="random", total=few + more, seed=seed).picks

    assert set(ids(small)) <= set(ids(large))


def test_a_short_entry_is_topped_up_from_the_others_by_weight() -> None:
    pools = [pool("x", {"a": 10}, weight=0.5), pool("y", {"b": 99}), pool("z", {"c": 99}, weight=2.0)]

    picks = select(pools, strategy="weighted", total=100, seed=3).picks

    assert Counter(pick.benchmark for pick in picks) == {"x": 10, "y": 30, "z": 60}


def test_an_entry_of_weight_zero_is_left_alone_and_its_tasks_are_not_counted_as_there() -> None:
    pools = [pool("x", {"a": 3}), pool("y", {"b": 99}, weight=0.0)]

    selection = select(pools, strategy="weighted", total=10, seed=3)

    assert len(selection.picks) == 3
    assert [(s.requested, s.available) for s in selection.shortfalls] == [(10, 3)]


def test_a_task_of_two_entries_is_kept_once_and_counted() -> None:
    both = [task("t0"), task("t1")]
    pools = [entry("x", both, identity="1"), entry("x#2", [*both, task("t2")], identity="2")]

    selection = select(pools, strategy="stratified", total=None, seed=1)

    assert (sorted(ids(selection.picks)), selection.twice) == (["t0", "t1", "t2"], {"x": 2})


def test_another_task_of_the_same_id_is_left_out_aloud() -> None:
    other = replace(task("t0"), digest="sha256:1")
    pools = [entry("x", [task("t0")], identity="1"), entry("x#2", [other, task("t1")], identity="2")]

    found = select(pools, strategy="stratified", total=None, seed=1)

    assert sorted(ids(found.picks)) == ["t0", "t1"]
    assert [(s.stratum, s.requested, s.available) for s in found.shortfalls] == [("x#2", 2, 1)]
    assert "1 tasks have the ids of other tasks, such as 't0'" in found.shortfalls[0].reason


def test_the_head_of_a_stratum_holds_some_of_each_entry() -> None:
    pools = [
        entry("x", [task(f"en{n}") for n in range(9)], identity="1"),
        entry("x#2", [task(f"cn{n}") for n in range(9)], identity="2"),
    ]

    assert sorted(ids(select(pools, strategy="stratified", total=4, seed=1).picks)) == ["cn0", "cn1", "en0", "en1"]


def test_the_limit_of_a_type_is_shared_by_its_task_types() -> None:
    pools = [pool("x", {"a": 20, "b": 20, "c": 1}), pool("y", {"d": 5})]

    picks = select(pools, strategy="stratified", total=None, seed=1, type_limits={"x": 9}).picks

    assert Counter(pick.stratum for pick in picks) == {("x", "a"): 4, ("x", "b"): 4, ("x", "c"): 1, ("y", "d"): 5}


def test_the_limit_of_a_type_is_shared_by_the_weights_of_its_entries() -> None:
    pools = [
        entry(name, [task(f"{name}{n}") for n in range(20)], identity=name, weight=weight)
        for name, weight in (("heavy", 3.0), ("light", 1.0))
    ]

    picks = select(pools, strategy="weighted", total=None, seed=1, type_limits={"x": 8}).picks

    assert Counter(pick.task.id[:5] for pick in picks) == {"heavy": 6, "light": 2}


def test_the_limit_of_a_type_takes_the_head_of_a_sequential_plan() -> None:
    pools = [pool("x", {"a": 3, "b": 3})]

    picks = select(pools, strategy="sequential", total=None, seed=1, type_limits={"x": 4}).picks

    assert ids(picks) == ["x-a-0", "x-a-1", "x-a-2", "x-b-0"]


def test_what_falls_short_is_listed_by_group_entry_and_type() -> None:
    grouped = [task("t0", group="a en"), task("t1", group="a en"), task("t2", group="a cn")]
    pools = [
        entry("x", grouped, identity="1", asked_per_group=2),
        replace(pool("y", {"b": 3}), limit=5),
        pool("z", {"c": 3}),
    ]

    found = select(pools, strategy="stratified", total=None, seed=1, type_limits={"z": 4}).shortfalls

    assert [(s.stratum, s.requested, s.available) for s in found] == [("x / a cn", 2, 1), ("y", 5, 3), ("z", 4, 3)]


def test_a_stratum_asked_for_by_name_must_hold_something() -> None:
    with pytest.raises(PlanningError, match="asked for by name and empty: x / b"):
        select([replace(pool("x", {"a": 3}), named=("a", "b"))], strategy="random", total=None, seed=1)
