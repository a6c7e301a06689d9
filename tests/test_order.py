"""Where an order may go: the whole grid of moves, and that nothing moves an order otherwise."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pipeline.chain import CHAINS, UNDO, UNDOS, Chain
from pipeline.engine.record import cancelled, decide
from pipeline.errors import InvariantBroken
from pipeline.operations import requeue
from pipeline.order import TRANSITIONS, Lane, Line, Order, Status, is_legal
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.source import Policy, Source
from pipeline.storage import orders
from pipeline.storage.orders import Move
from tests.support import Mill, an_order

MakeMill = Callable[..., Mill]

# From the row's status to the column's. No status moves to itself: waiting is no move.
GRID = """
             rec val pri pai res con bac hol cgl rej ccd
received      .   x   .   .   .   .   .   x   .   x   x
validated     .   .   x   .   .   .   .   x   .   x   x
priced        .   .   .   x   x   .   x   x   x   x   .
paid          .   .   .   .   x   x   x   x   x   .   .
reserved      .   .   .   x   .   x   .   x   x   .   .
confirmed     .   .   .   .   .   .   .   .   x   .   .
backordered   .   .   .   .   x   .   .   x   x   x   .
on_hold       x   x   x   x   x   .   x   .   x   .   x
cancelling    .   .   .   .   .   .   .   x   .   .   x
rejected      .   .   .   .   .   .   .   .   .   .   .
cancelled     .   .   x   .   .   .   .   .   .   .   .
"""


def cells() -> Iterator[tuple[Status, Status, bool]]:
    rows = [line.split() for line in GRID.strip().splitlines()[1:]]
    statuses = [Status(row[0]) for row in rows]
    for source, (_, *marks) in zip(statuses, rows, strict=True):
        for target, mark in zip(statuses, marks, strict=True):
            yield source, target, mark == "x"


def test_the_grid_names_every_pair_of_statuses() -> None:
    assert {(source, target) for source, target, _ in cells()} == {
        (source, target) for source in Status for target in Status
    }


def test_the_door_refuses_what_the_table_does_not_know_and_makes_none_of_the_other_moves(
    mill: MakeMill,
) -> None:
    shop = mill().stocked()
    good, bad = shop.accept(), shop.accept()
    illegal = [
        (source, target) for source, target, legal in cells() if not legal and source != target
    ]

    def moved(source: Status, target: Status) -> None:
        with shop.database.transaction() as tx:
            moves = [
                Move(good, Status.RECEIVED, Status.VALIDATED, "price", "advanced"),
                Move(bad, source, target, "validate", "advanced"),
            ]
            orders.move(tx, moves, "ada")

    for source, target in illegal:
        with pytest.raises(InvariantBroken, match=f"from {source} to {target}"):
            moved(source, target)

    assert [shop.status(order) for order in (good, bad)] == ["received", "received"]
    assert shop.timeline(good) == ["received"]


def test_the_table_of_moves_is_the_grid() -> None:
    differences = [
        f"{source} → {target} should be {'legal' if legal else 'illegal'}"
        for source, target, legal in cells()
        if is_legal(source, target) != legal
    ]

    assert differences == []


def test_of_what_is_over_only_a_cancelled_order_may_come_back() -> None:
    assert TRANSITIONS[Status.REJECTED] == frozenset()
    assert TRANSITIONS[Status.CANCELLED] == {Status.PRICED}


# --- What the engine does with each outcome, in both chains ---------------------------------------


def at(chain: str, stage: str | None, status: Status) -> Order:
    """An order of that chain, at that step, in that status."""
    source = Source(id=1, name="shop", policy=Policy(chain=chain))
    return Order(
        1, "web-1", source, chain, Lane.INTERACTIVE, status, stage or "", None, "EUR", False, 1,
        datetime(2026, 11, 22, tzinfo=UTC), {},
    )  # fmt: skip


def places(chain: Chain) -> Iterator[tuple[str, Status]]:
    """Every (stage, status) in which an order of the chain can be found."""
    for link in chain.links:
        yield link.stage, link.source
        if link.stage == "reserve":
            yield link.stage, Status.BACKORDERED


PLACES = [(c.name, stage, status) for c in CHAINS.values() for stage, status in places(c)]
in_every_place = pytest.mark.parametrize(("chain", "stage", "status"), PLACES)


def moved(chain: str, stage: str, status: Status, outcome: Outcome) -> Status:
    """Where the outcome takes an order; fails if the move is not legal."""
    move = decide(at(chain, stage, status), stage, outcome, most_attempts=8).move
    assert move.source is status
    assert move.target is status or is_legal(status, move.target), f"{status} → {move.target}"
    return move.target


@in_every_place
def test_an_order_that_advances_goes_to_its_link_s_target(
    chain: str, stage: str, status: Status
) -> None:
    assert moved(chain, stage, status, Advance()) is CHAINS[chain].link(stage).target


@in_every_place
def test_a_refused_order_is_rejected_if_nothing_was_done_for_it_and_else_undone(
    chain: str, stage: str, status: Status
) -> None:
    links = CHAINS[chain].links
    done = any(x.leaves_effects for x in links[: links.index(CHAINS[chain].link(stage))])

    target = moved(chain, stage, status, Reject("refused"))

    assert target is (Status.CANCELLING if done else Status.REJECTED)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_refusal_that_left_something_behind_is_undone(chain: str) -> None:
    source = CHAINS[chain].link("pay").source

    assert moved(chain, "pay", source, Reject("declined", had_effect=True)) is Status.CANCELLING


@in_every_place
def test_an_order_that_waits_stays_where_it_is(chain: str, stage: str, status: Status) -> None:
    assert moved(chain, stage, status, Retry("gateway_unavailable")) is status


@pytest.mark.parametrize("chain", CHAINS)
def test_an_order_that_lacks_stock_waits_aside(chain: str) -> None:
    source = CHAINS[chain].link("reserve").source
    lacks_stock = Retry("awaiting_stock", burns=False, aside=Status.BACKORDERED)

    assert moved(chain, "reserve", source, lacks_stock) is Status.BACKORDERED


@in_every_place
def test_an_order_is_held_wherever_it_is(chain: str, stage: str, status: Status) -> None:
    assert moved(chain, stage, status, Hold("defect")) is Status.ON_HOLD


@in_every_place
def test_a_cancelled_order_undoes_whatever_may_have_been_done(
    chain: str, stage: str, status: Status
) -> None:
    links = CHAINS[chain].links
    reached = links[: links.index(CHAINS[chain].link(stage)) + 1]
    undos = [UNDO + link.stage for link in reached if link.leaves_effects]

    for found in (status, Status.ON_HOLD):
        move = cancelled(at(chain, stage, found), stage).move

        assert move.target is (Status.CANCELLING if undos else Status.CANCELLED)
        assert move.stage == (undos[-1] if undos else None)
        assert is_legal(found, move.target)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_confirmed_order_is_undone_from_the_end(chain: str) -> None:
    last = [UNDO + x.stage for x in CHAINS[chain].links if x.leaves_effects][-1]

    move = cancelled(at(chain, None, Status.CONFIRMED), None).move

    assert (move.target, move.stage) == (Status.CANCELLING, last)
    assert is_legal(move.source, move.target)


@pytest.mark.parametrize("chain", CHAINS)
def test_what_was_done_is_undone_in_reverse(chain: str) -> None:
    forward = [UNDO + link.stage for link in CHAINS[chain].links if link.leaves_effects]

    backward = [CHAINS[chain].undo_from(None, inclusive=False)]
    while backward[-1] is not None:
        backward.append(CHAINS[chain].undo_after(backward[-1]))

    assert backward[:-1] == forward[::-1]


@pytest.mark.parametrize("undo", UNDOS)
@pytest.mark.parametrize("chain", CHAINS)
def test_an_order_is_cancelled_only_when_all_is_undone(chain: str, undo: str) -> None:
    following = CHAINS[chain].undo_after(undo)

    assert moved(chain, undo, Status.CANCELLING, Advance()) is (
        Status.CANCELLING if following else Status.CANCELLED
    )
    assert moved(chain, undo, Status.CANCELLING, Retry("undo_unknown")) is Status.CANCELLING
    assert moved(chain, undo, Status.CANCELLING, Hold("undo_failed")) is Status.ON_HOLD


# --- The lines ------------------------------------------------------------------------------------


def lines_of(*lines: tuple[str, int, int | None]) -> list[Line]:
    order = at("capture_first", "validate", Status.RECEIVED)
    order.document = {
        "lines": [
            {"sku": sku, "quantity": n} | ({} if price is None else {"unit_price": price})
            for sku, n, price in lines
        ]
    }
    return order.lines


def test_lines_that_share_a_sku_are_one_in_order_of_first_appearance() -> None:
    assert lines_of(("TEE-01", 1, None), ("MUG-01", 2, None), ("TEE-01", 3, None)) == [
        Line("TEE-01", 4),
        Line("MUG-01", 2),
    ]


def test_lines_sold_at_different_prices_stay_apart() -> None:
    assert lines_of(("MUG-01", 1, 900), ("MUG-01", 1, 1000), ("MUG-01", 1, 900)) == [
        Line("MUG-01", 2, 900),
        Line("MUG-01", 1, 1000),
    ]


# --- The one door ---------------------------------------------------------------------------------


def move(shop: Mill, *moves: Move) -> set[int]:
    with shop.database.transaction() as tx:
        return orders.move(tx, moves, "ada")


def request_cancel(shop: Mill, order: int) -> None:
    with shop.database.transaction() as tx:
        assert orders.request_cancel(tx, [order], "cancelled", "ada")


def test_a_move_is_written_with_its_event(mill: MakeMill) -> None:
    shop = mill()
    order = shop.accept()

    won = move(shop, Move(order, Status.RECEIVED, Status.VALIDATED, "price", "advanced"))

    assert won == {order}
    assert (shop.status(order), shop.row(order).version) == ("validated", 2)
    assert shop.timeline(order) == ["received", "advanced"]


@pytest.mark.parametrize(
    "elsewhere", [s for s in Status if s is not Status.RECEIVED and TRANSITIONS[s]]
)
def test_an_order_that_is_elsewhere_is_not_moved_and_nothing_is_written(
    mill: MakeMill, elsewhere: Status
) -> None:
    shop = mill()
    order = shop.accept()
    before = shop.row(order)

    for target in TRANSITIONS[elsewhere]:
        assert move(shop, Move(order, elsewhere, target, "price", "moved")) == set()

    assert shop.row(order) == before
    assert shop.timeline(order) == ["received"]


def test_of_several_moves_those_that_fit_are_won(mill: MakeMill) -> None:
    shop = mill()
    batch = [an_order() for _ in range(3)]
    first, second, third = (r.order_id for r in shop.intake.accept_all(shop.source, batch))
    move(shop, Move(second, Status.RECEIVED, Status.REJECTED, None, "rejected"))

    won = move(
        shop,
        *(
            Move(order, Status.RECEIVED, Status.VALIDATED, "price", "advanced")
            for order in (first, second, third)
        ),
    )

    assert won == {first, third}
    assert [shop.status(o) for o in (first, second, third)] == [
        "validated",
        "rejected",
        "validated",
    ]


def test_a_move_unless_cancelled_is_refused_once_cancellation_was_asked_for(
    mill: MakeMill,
) -> None:
    shop = mill()
    order = shop.accept()
    request_cancel(shop, order)
    advance = Move(
        order, Status.RECEIVED, Status.VALIDATED, "price", "advanced", unless_cancelled=True
    )

    won = move(shop, advance)

    assert won == set()
    assert shop.status(order) == "received"
    assert shop.timeline(order) == ["received", "cancel_requested"]


def test_any_other_move_of_a_cancelled_order_goes_through(mill: MakeMill) -> None:
    shop = mill()
    order = shop.accept()
    request_cancel(shop, order)

    won = move(shop, Move(order, Status.RECEIVED, Status.CANCELLED, None, "cancelled"))

    assert won == {order}


def test_cancellation_is_asked_for_once(mill: MakeMill) -> None:
    shop = mill()
    order = shop.accept()
    request_cancel(shop, order)

    with shop.database.transaction() as tx:
        again = orders.request_cancel(tx, [order], "cancelled", "bob")

    assert again == set()
    assert shop.timeline(order) == ["received", "cancel_requested"]


def held_at(shop: Mill, status: Status, step: str) -> int:
    """An order put on hold at that step, from that status."""
    order = shop.accept()
    for source, target in pairwise([*way_to(status), Status.ON_HOLD]):
        assert move(shop, Move(order, source, target, step, "moved"))
    return order


def way_to(status: Status) -> list[Status]:
    """A shortest way there from where orders begin."""
    ways = deque([[Status.RECEIVED]])
    while (way := ways.popleft())[-1] is not status:
        ways.extend([*way, target] for target in TRANSITIONS[way[-1]] - {Status.ON_HOLD})
    return way


@in_every_place
def test_an_order_on_hold_goes_on_where_it_was_held(
    mill: MakeMill, chain: str, stage: str, status: Status
) -> None:
    shop = mill(policy=Policy(chain=chain))
    order = held_at(shop, status, stage)

    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")

    resumed = CHAINS[chain].link(stage).source
    assert (shop.status(order), shop.row(order).stage) == (resumed, stage)
    assert is_legal(Status.ON_HOLD, resumed)


@pytest.mark.parametrize("undo", UNDOS)
@pytest.mark.parametrize("chain", CHAINS)
def test_an_order_held_while_it_was_undone_goes_on_being_undone(
    mill: MakeMill, chain: str, undo: str
) -> None:
    shop = mill(policy=Policy(chain=chain))
    order = held_at(shop, Status.CANCELLING, undo)

    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")

    assert (shop.status(order), shop.row(order).stage) == ("cancelling", undo)
