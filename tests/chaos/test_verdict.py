"""The verdict itself: on a sound case it has nothing to say, and it names whatever is broken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.journal import Journal
from tests.chaos.records import Snapshot
from tests.chaos.shop import MUG, SCARCE, Shop
from tests.chaos.verdict import Case, problems

RARE = SCARCE[0]
T0 = datetime(2026, 11, 30, tzinfo=UTC)
#: Two orders: 1 is confirmed, refunded a part of and shipped in part; 2 and 3 had to wait for stock.
LINES = {1: [(MUG, 2)], 2: [(RARE, 1)], 3: [(RARE, 1)]}
PRICE = {1: 2000, 2: 700, 3: 700}


def an_event(order_id: int, seq: int, status: str, came_from: str | None, **more: Any) -> Any:
    kind = "received" if came_from is None else "advanced"
    return {"order_id": order_id, "seq": seq, "kind": kind, "from_status": came_from,
            "to_status": status, "stage": None, "reason": None, "detail": None, "actor": "engine",
            "at": T0 + timedelta(minutes=order_id), **more}  # fmt: skip


def an_operation(order_id: int, kind: str, amount: int) -> Any:
    return {"order_id": order_id, "key": f"{order_id}.{kind}", "state": "succeeded", "kind": kind,
            "amount": amount, "currency": "EUR"}  # fmt: skip


def a_movement(number: int, sku: str, kind: str, quantity: int, promised: int, of: int) -> Any:
    return {"id": number, "sku": sku, "kind": kind, "quantity": quantity, "promised": promised,
            "reference": f"order {of}", "at": T0 + timedelta(hours=number)}  # fmt: skip


def an_order(order_id: int) -> Any:
    return {"id": order_id, "external_id": f"chaos-{order_id}", "source": "shop", "stage": None,
            "status": "confirmed", "reason": None, "version": 3, "settled_at": T0}  # fmt: skip


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A sound one."""
    operations = [
        an_operation(n, kind, price)
        for n, price in PRICE.items()
        for kind in ("authorize", "capture")
    ]
    operations.append(an_operation(1, "refund", 100))
    book = [
        {**op, "parent": None if op["kind"] == "authorize" else f"sbx_{op['order_id']}.authorize"}
        for op in operations
    ]
    rows = Snapshot(
        live=[an_order(n) for n in LINES],
        archived=[],
        live_events=[
            an_event(n, seq, status, came_from)
            for n in LINES
            for seq, status, came_from in (
                (1, "received", None), (2, "backordered", "received"), (3, "confirmed", "backordered"),
            )
        ],
        operations=operations,
        tasks=[],
        dispatches=[],
        levels=[
            {"sku": MUG, "on_hand": 9, "reserved": 1}, {"sku": RARE, "on_hand": 5, "reserved": 2},
        ],
        movements=[
            a_movement(1, MUG, "receipt", 10, 0, 0), a_movement(2, RARE, "receipt", 2, 0, 0),
            a_movement(3, MUG, "reservation", 0, 2, 1), a_movement(4, MUG, "shipment", -1, -1, 1),
            a_movement(5, RARE, "adjustment", 3, 0, 0),
            a_movement(6, RARE, "reservation", 0, 1, 2), a_movement(7, RARE, "reservation", 0, 1, 3),
        ],
        reservations=[
            {"order_id": 1, "sku": MUG, "quantity": 1}, {"order_id": 2, "sku": RARE, "quantity": 1},
            {"order_id": 3, "sku": RARE, "quantity": 1},
        ],
        backorders=[],
        shipments=[{"order_id": 1, "reference": "part-1"}],
        shipped=[{"order_id": 1, "sku": MUG, "units": 1}],
        cancelled_lines=[],
        redemptions=[],
        uses=[],
        deliveries=[],
        quotes=[{"order_id": n, "total": price} for n, price in PRICE.items()],
    )  # fmt: skip
    journal = Journal(tmp_path / "journal.jsonl")
    for n, lines in LINES.items():
        order = {"external_id": f"chaos-{n}", "coupons": [],
                 "lines": [{"sku": sku, "quantity": units} for sku, units in lines]}  # fmt: skip
        journal.write("order", source="shop", id=n, order=order)
    journal.write("refunds", id=1, name="refund-1", status=202, body={"amount": "1.00"})
    journal.write("fulfilments", id=1, name="part-1", status=201, body={})
    journal.write("receipt", sku=RARE, units=3, key="receipt-1")
    rows.events[1].append(
        an_event(1, 4, "confirmed", "confirmed", kind="refund_requested", actor="api:shop")
    )
    rows.orders[1]["version"] = 4
    told = {
        (n, event["seq"]): (event["kind"], event["to_status"])
        for n, events in rows.events.items()
        for event in events
    }
    shop = Shop({}, "", {MUG: 10, RARE: 2}, 1)
    return Case(rows, book, journal, shop, dict(told), dict.fromkeys(told, 1))


def test_a_sound_case_has_no_problem(case: Case) -> None:
    assert list(problems(case)) == []


def _double_capture(case: Case) -> None:
    case.book.append({**case.book[1], "key": "1.again"})
    case.rows.operations.append({**case.rows.operations[1], "key": "1.again"})


def _overtaken(case: Case) -> None:
    case.rows.movements[5]["reference"], case.rows.movements[6]["reference"] = "order 3", "order 2"


def _cancelled(case: Case) -> None:
    case.rows.orders[2]["status"] = "cancelled"
    case.rows.events[2][-1]["to_status"] = "cancelled"


def _held(case: Case) -> None:
    case.rows.events[2][1].update(to_status="on_hold", reason="defect", stage="reserve")
    case.rows.events[2][2]["from_status"] = "on_hold"


BROKEN: dict[str, Callable[[Case], object]] = {
    "order 1 was charged 2 times": _double_capture,
    "order 2 costs 700, and was charged 701": lambda c: c.book[3].update(amount=701),
    "the gateway did capture 2.capture, and we don't know": lambda c: c.rows.operations.pop(3),
    "order 2: capture 2.capture is not in the gateway's book": lambda c: c.book.pop(3),
    "order 2: 2.authorize is still authorized": lambda c: c.book.pop(3),
    "order 1: refunds of 100 were asked for, 0 was refunded": lambda c: c.book.pop(),
    "order 2 is cancelled: charged 700, refunded 0": _cancelled,
    "order 2 is cancelled, and holds": _cancelled,
    "order 2 costs 700, and was quoted 699": lambda c: c.rows.quotes[1].update(total=699),
    "order 3: pay.3 was asked for and is not done": lambda c: c.rows.tasks.append(
        {"order_id": 3, "key": "pay.3"}
    ),
    "chaos-3: answered as 3, stored as None": lambda c: (
        c.rows.orders.pop(3),
        c.rows.events.pop(3),
    ),
    "order 3 was to be cancelled, and is confirmed": lambda c: c.journal.write(
        "cancel", id=3, name=None, status=202, body={}
    ),
    "shipment (1, 'part-1') was made 2 times": lambda c: c.rows.shipments.append(
        dict(c.rows.shipments[0])
    ),
    "shipments that were answered and are not there": lambda c: c.journal.write(
        "fulfilments", id=2, name="parcel-2", status=201, body={}
    ),
    "order 1: 2 refunds were answered, 1 requested": lambda c: c.journal.write(
        "refunds", id=1, name="refund-2", status=202, body={"amount": "1.00"}
    ),
    "GET /x was answered 500": lambda c: c.journal.write("500", call="GET /x", said="a defect"),
    "and has events [1, 3]": lambda c: c.rows.events[2].pop(1),
    "order 2 was held at reserve: defect": _held,
    "order 2 is paid at pay, and not settled": lambda c: c.rows.orders[2].update(
        status="paid", stage="pay"
    ),
    "and in 1 dispatches": lambda c: c.rows.dispatches.append({"order_ids": "[2]"}),
    "on hand 10, the ledger says 9": lambda c: c.rows.levels[0].update(on_hand=10),
    "reserved 2, promised 1, held by orders 1": lambda c: c.rows.levels[0].update(reserved=2),
    "RARE-01: on hand 5, should be 8": lambda c: c.journal.write(
        "receipt", sku=RARE, units=3, key="receipt-2"
    ),
    "holds Counter(), gone Counter()": lambda c: c.rows.reservations.pop(),
    "order 3 got RARE-01 before order 2": _overtaken,
    "SCARCE was used 2 times, and may be 1 times": lambda c: c.rows.redemptions.extend(
        {"order_id": n, "code": "SCARCE", "customer": ""} for n in (2, 3)
    ),
    "mirror: 1 events were not told: [(3, 3)]": lambda c: c.mirror.pop((3, 3)),
    "received: 1 events were not told: [(3, 3)]": lambda c: c.received.pop((3, 3)),
    "mirror: 1 events are not there": lambda c: c.mirror.update({(9, 9): ("x", None)}),
}


@pytest.mark.parametrize("told", BROKEN)
def test_what_is_broken_is_named(case: Case, told: str) -> None:
    BROKEN[told](case)

    assert any(told in problem for problem in problems(case)), list(problems(case))
