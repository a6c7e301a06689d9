"""Which order gets which units: whole orders, first come first served, never a unit twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inventory.allocation import (
    Allotment,
    Demand,
    Level,
    Place,
    Shelves,
    Shortage,
    Strategy,
)

MUG, TEE = "MUG-01", "TEE-01"


def demand(order_id: int, *lines: tuple[str, int]) -> Demand:
    return Demand(order_id, tuple((n, *line) for n, line in enumerate(lines, start=1)))


def allocate(
    demands: Sequence[Demand], available: Mapping[Level, int]
) -> list[list[Allotment] | Shortage]:
    """What each of `demands` gets, served one after another."""
    shelves = Shelves(available)
    return [shelves.take(demand) for demand in demands]


def test_an_order_gets_its_units() -> None:
    assert allocate([demand(1, (MUG, 2), (TEE, 1))], {(MUG, "main"): 2, (TEE, "main"): 5}) == [
        [Allotment(1, 1, MUG, "main", 2), Allotment(1, 2, TEE, "main", 1)]
    ]


def test_an_order_that_lacks_one_line_gets_none_and_is_told_what_lacks() -> None:
    answers = allocate([demand(1, (MUG, 2), (TEE, 1))], {(MUG, "main"): 2})

    assert answers == [Shortage({TEE: 1})]


def test_what_one_order_could_not_use_a_later_smaller_one_may() -> None:
    answers = allocate([demand(1, (MUG, 3)), demand(2, (MUG, 2))], {(MUG, "main"): 2})

    assert answers == [Shortage({MUG: 1}), [Allotment(2, 1, MUG, "main", 2)]]


def test_orders_are_served_in_the_order_they_come() -> None:
    answers = allocate([demand(n, (MUG, 1)) for n in (7, 3, 5)], {(MUG, "main"): 2})

    assert answers == [
        [Allotment(7, 1, MUG, "main", 1)],
        [Allotment(3, 1, MUG, "main", 1)],
        Shortage({MUG: 1}),
    ]


def test_two_lines_with_one_sku_draw_on_the_same_units() -> None:
    twice = demand(1, (MUG, 2), (TEE, 1), (MUG, 2))

    assert allocate([twice], {(MUG, "main"): 3, (TEE, "main"): 1}) == [Shortage({MUG: 1})]
    assert allocate([twice], {(MUG, "main"): 4, (TEE, "main"): 1}) == [
        [
            Allotment(1, 1, MUG, "main", 2),
            Allotment(1, 2, TEE, "main", 1),
            Allotment(1, 3, MUG, "main", 2),
        ]
    ]


def test_a_line_is_not_split_where_one_location_has_it_all() -> None:
    answers = allocate([demand(1, (MUG, 3))], {(MUG, "east"): 2, (MUG, "west"): 3})

    assert answers == [[Allotment(1, 1, MUG, "west", 3)]]


def test_a_line_that_no_location_has_whole_is_split() -> None:
    answers = allocate([demand(1, (MUG, 4))], {(MUG, "east"): 2, (MUG, "west"): 3})

    assert answers == [[Allotment(1, 1, MUG, "east", 2), Allotment(1, 1, MUG, "west", 2)]]


def test_an_unknown_sku_lacks() -> None:
    assert allocate([demand(1, ("MUG-99", 1))], {}) == [Shortage({"MUG-99": 1})]


def test_no_demand_no_answer() -> None:
    assert allocate([], {(MUG, "main"): 2}) == []


# --- Which location -------------------------------------------------------------------------------

PLACES = {
    "paris": Place("FR", 10, frozenset({"FR", "BE"})),
    "berlin": Place("DE", 30, frozenset({"DE"})),
    "vienna": Place("AT", 20, frozenset({"AT", "DE"})),
}  # and "depot", of which nobody said anything: priority 100, serves all

#: name → the strategy, where to, what is wanted, what is there, and from where it is taken by line.
CHOICES: dict[
    str, tuple[Strategy, str, list[tuple[str, int]], dict[Level, int], list[tuple[int, str, int]]]
] = {
    "the lowest priority goes first": (
        "priority", "DE", [(MUG, 1)],
        {(MUG, "berlin"): 9, (MUG, "paris"): 9, (MUG, "depot"): 9},
        [(1, "paris", 1)],
    ),
    "one location that has all goes before a better one that has not": (
        "priority", "DE", [(MUG, 1), (TEE, 1)],
        {(MUG, "paris"): 9, (MUG, "depot"): 1, (TEE, "depot"): 1},
        [(1, "depot", 1), (2, "depot", 1)],
    ),
    "lines are spread before a line is": (
        "priority", "DE", [(MUG, 3), (TEE, 1)],
        {(MUG, "paris"): 2, (MUG, "berlin"): 3, (TEE, "vienna"): 1},
        [(1, "berlin", 3), (2, "vienna", 1)],
    ),
    "a line is split by priority": (
        "priority", "DE", [(MUG, 4)],
        {(MUG, "paris"): 2, (MUG, "berlin"): 3, (MUG, "depot"): 3},
        [(1, "paris", 2), (1, "berlin", 2)],
    ),
    "the country's own location is the nearest": (
        "nearest", "DE", [(MUG, 1)],
        {(MUG, "berlin"): 9, (MUG, "paris"): 9, (MUG, "vienna"): 9},
        [(1, "berlin", 1)],
    ),
    "then one that serves it": (
        "nearest", "DE", [(MUG, 1)],
        {(MUG, "paris"): 9, (MUG, "vienna"): 9, (MUG, "depot"): 9},
        [(1, "vienna", 1)],
    ),
    "one that is meant for others serves if need be": (
        "nearest", "DE", [(MUG, 1)], {(MUG, "paris"): 1}, [(1, "paris", 1)],
    ),
    "near or not, one that has all goes first": (
        "nearest", "DE", [(MUG, 2)],
        {(MUG, "berlin"): 1, (MUG, "paris"): 2},
        [(1, "paris", 2)],
    ),
    "two shipments rather than three": (
        "fewest_shipments", "DE", [(MUG, 1), (TEE, 1), ("CAP", 1)],
        {(MUG, "paris"): 1, (TEE, "vienna"): 1, ("CAP", "berlin"): 1, (TEE, "berlin"): 1},
        [(1, "paris", 1), (2, "berlin", 1), (3, "berlin", 1)],
    ),
    "where priority takes three": (
        "priority", "DE", [(MUG, 1), (TEE, 1), ("CAP", 1)],
        {(MUG, "paris"): 1, (TEE, "vienna"): 1, ("CAP", "berlin"): 1, (TEE, "berlin"): 1},
        [(1, "paris", 1), (2, "vienna", 1), (3, "berlin", 1)],
    ),
    "safety stock that was taken is no stock": (
        "priority", "DE", [(MUG, 1)],
        {(MUG, "paris"): -3, (MUG, "depot"): 1},
        [(1, "depot", 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "country", "lines", "available", "taken"), CHOICES.values(), ids=CHOICES
)
def test_an_order_is_served_from(
    strategy: Strategy,
    country: str,
    lines: list[tuple[str, int]],
    available: dict[Level, int],
    taken: list[tuple[int, str, int]],
) -> None:
    numbered = tuple((n, *line) for n, line in enumerate(lines, start=1))

    answer = Shelves(available, PLACES).take(Demand(1, numbered, country, strategy))

    assert isinstance(answer, list)
    assert [(each.line_no, each.location, each.quantity) for each in answer] == taken


def test_of_what_is_withheld_there_is_none() -> None:
    shelves = Shelves({(MUG, "main"): 9, (TEE, "main"): 9})

    assert shelves.take(demand(1, (MUG, 1), (TEE, 1)), withheld={TEE}) == Shortage({TEE: 1})
    assert (shelves.free(MUG), shelves.free(TEE)) == (9, 9)


def test_of_a_part_the_first_lines_come_first() -> None:
    shelves = Shelves({(MUG, "main"): 3, (TEE, "main"): 1})
    wanted = demand(1, (MUG, 2), (TEE, 2), (MUG, 2))
    short = shelves.take(wanted)
    assert short == Shortage({MUG: 1, TEE: 1})

    taken = shelves.take_part(wanted, short)

    assert taken == [
        Allotment(1, 1, MUG, "main", 2),
        Allotment(1, 2, TEE, "main", 1),
        Allotment(1, 3, MUG, "main", 1),
    ]
    assert (shelves.free(MUG), shelves.free(TEE)) == (0, 0)


def test_what_comes_later_is_taken_from_where_the_order_has_units_already() -> None:
    shelves = Shelves({(MUG, "berlin"): 5, (MUG, "lyon"): 5}, PLACES)
    rest = Demand(1, ((2, MUG, 1),), "DE", "nearest", at=frozenset({"lyon"}))

    assert shelves.take(rest) == [Allotment(1, 2, MUG, "lyon", 1)]


# --- Whatever is wanted and there -----------------------------------------------------------------

skus = st.sampled_from(["A", "B", "C"])
stocks = st.dictionaries(
    st.tuples(skus, st.sampled_from(["east", "main", "west"])), st.integers(0, 12)
)
strategies = st.sampled_from(["priority", "nearest", "fewest_shipments"])
wanted = st.lists(st.tuples(skus, st.integers(1, 8)), min_size=1, max_size=4)
orders = st.lists(st.tuples(wanted, strategies), max_size=8).map(
    lambda found: [
        replace(demand(n, *lines), strategy=strategy)
        for n, (lines, strategy) in enumerate(found, start=1)
    ]
)


@given(demands=orders, available=stocks)
def test_never_more_is_promised_than_is_there(
    demands: list[Demand], available: dict[Level, int]
) -> None:
    promised = Counter[Level]()
    for answer in allocate(demands, available):
        for each in answer if isinstance(answer, list) else []:
            promised[each.sku, each.location] += each.quantity

    assert all(units <= available[level] for level, units in promised.items())


@given(demands=orders, available=stocks)
def test_every_demand_is_answered_in_its_place_with_all_its_lines_or_none(
    demands: list[Demand], available: dict[Level, int]
) -> None:
    answers = allocate(demands, available)

    assert len(answers) == len(demands)
    for wanted, answer in zip(demands, answers, strict=True):
        if isinstance(answer, Shortage):
            assert set(answer.skus) <= {sku for _, sku, _ in wanted.lines}
            assert answer.skus
            continue
        given = Counter[tuple[int, str]]()
        for each in answer:
            assert each.order_id == wanted.order_id
            assert each.quantity > 0
            given[each.line_no, each.sku] += each.quantity
        assert given == {(n, sku): quantity for n, sku, quantity in wanted.lines}


@given(demands=orders, available=stocks)
def test_an_order_is_refused_only_when_what_is_left_is_too_little(
    demands: list[Demand], available: dict[Level, int]
) -> None:
    left = Counter[str]()
    for (sku, _), units in available.items():
        left[sku] += units

    for wanted, answer in zip(demands, allocate(demands, available), strict=True):
        needed = Counter[str]()
        for _, sku, quantity in wanted.lines:
            needed[sku] += quantity
        short = {sku for sku in needed if needed[sku] > left[sku]}
        assert (set(answer.skus) if isinstance(answer, Shortage) else set()) == short
        if not short:
            left.subtract(needed)


@given(demands=orders, available=stocks)
def test_the_same_demands_get_the_same_units(
    demands: list[Demand], available: dict[Level, int]
) -> None:
    backwards = dict(reversed(available.items()))

    assert allocate(demands, available) == allocate(demands, backwards)


def covers(chosen: Sequence[str], order: Demand, left: Mapping[Level, int]) -> bool:
    return all(
        sum(left.get((sku, location), 0) for location in chosen) >= units
        for sku, units in order.needed.items()
    )


@given(demands=orders, available=stocks)
def test_nothing_is_split_needlessly(demands: list[Demand], available: dict[Level, int]) -> None:
    left = Counter[Level](available)
    shelves = Shelves(available)
    for order in demands:
        answer = shelves.take(order)
        if isinstance(answer, Shortage):
            continue
        used = {each.location for each in answer}
        if len(used) > 1:
            everywhere = sorted({location for _, location in available})
            sizes = range(1, len(used) if order.strategy == "fewest_shipments" else 2)
            smaller = (chosen for n in sizes for chosen in combinations(everywhere, n))
            assert not any(covers(chosen, order, left) for chosen in smaller)
        for line_no, sku, quantity in order.lines:
            parts = [each for each in answer if each.line_no == line_no]
            if len(parts) > 1:
                candidates = used if order.strategy == "fewest_shipments" else {
                    location for _, location in available
                }  # fmt: skip
                assert not any(left[sku, location] >= quantity for location in candidates)
            for each in parts:
                left[each.sku, each.location] -= each.quantity
