"""Which order gets which units: whole orders, first come first served, never a unit twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from pipeline.inventory.allocation import Allotment, Demand, Level, Shelves, Shortage

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

    assert answers == [Shortage((TEE,))]


def test_what_one_order_could_not_use_a_later_smaller_one_may() -> None:
    answers = allocate([demand(1, (MUG, 3)), demand(2, (MUG, 2))], {(MUG, "main"): 2})

    assert answers == [Shortage((MUG,)), [Allotment(2, 1, MUG, "main", 2)]]


def test_orders_are_served_in_the_order_they_come() -> None:
    answers = allocate([demand(n, (MUG, 1)) for n in (7, 3, 5)], {(MUG, "main"): 2})

    assert answers == [
        [Allotment(7, 1, MUG, "main", 1)],
        [Allotment(3, 1, MUG, "main", 1)],
        Shortage((MUG,)),
    ]


def test_two_lines_with_one_sku_draw_on_the_same_units() -> None:
    twice = demand(1, (MUG, 2), (TEE, 1), (MUG, 2))

    assert allocate([twice], {(MUG, "main"): 3, (TEE, "main"): 1}) == [Shortage((MUG,))]
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
    assert allocate([demand(1, ("MUG-99", 1))], {}) == [Shortage(("MUG-99",))]


def test_no_demand_no_answer() -> None:
    assert allocate([], {(MUG, "main"): 2}) == []


# --- Whatever is wanted and there -----------------------------------------------------------------

skus = st.sampled_from(["A", "B", "C"])
stocks = st.dictionaries(
    st.tuples(skus, st.sampled_from(["east", "main", "west"])), st.integers(0, 12)
)
orders = st.lists(
    st.lists(st.tuples(skus, st.integers(1, 8)), min_size=1, max_size=4), max_size=8
).map(lambda found: [demand(n, *lines) for n, lines in enumerate(found, start=1)])


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
