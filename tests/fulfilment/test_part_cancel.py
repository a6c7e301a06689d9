"""Cancelling after part was shipped: what left stays sold, what didn't is given back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import operations
from pipeline.errors import InvalidInput, NotAllowedNow
from pipeline.inventory.allocation import Allotment
from pipeline.part_cancel import split
from pipeline.payments.account import Account, call_of, follow_up
from pipeline.payments.gateway import Declined, Succeeded, capture_key
from pipeline.pricing.quote import Quote, QuotedLine
from pipeline.storage import catalogue
from tests.fulfilment.shop import (
    MakeMill,
    levels,
    moved,
    progress,
    seen,
    shelved,
    ship,
    sold,
    take_back,
)
from tests.payments.shop import (
    Gateway,
    act,
    booked,
    cancel,
    findings,
    pages,
    reference,
    stand,
    status,
    written,
)
from tests.support import MUG, POSTER, TEE, Mill

#: 10.01, 20.03 and 4.99 for a unit less 10 %, and shipping at 4.90: nothing divides evenly.
PRICING = {
    "shipping": {
        "default": "post",
        "methods": {"post": {"name": "Post", "rates": [{"price": {"EUR": "4.90"}}]}},
    },
    "promotions": [
        {"id": "ten", "name": "Ten off", "target": "order",
         "effect": {"type": "percent", "percent": 10}},
    ],
    "coupons": [{"code": "TEN", "promotions": ["ten"], "limit": 5}],
}  # fmt: skip
ODD = {MUG: 1001, TEE: 2003, POSTER: 499}


def odd_order(mill: MakeMill, **policy: object) -> tuple[Mill, int]:
    """Three odd lines of three, seven and three units, of which one, two and none were shipped."""
    units = [(sku, "main", 10) for sku in ODD]
    shop = shelved(mill, *units, **policy)
    shop.price_by(PRICING)
    with shop.database.transaction() as tx:
        catalogue.put(
            tx, [catalogue.ProductIn(sku, sku, True, True, {"EUR": n}) for sku, n in ODD.items()]
        )
    order = sold(shop, [(MUG, 3), (TEE, 7), (POSTER, 3)], coupons=["TEN"])
    ship(shop, order, "P-1", lines={1: 1, 2: 2})
    return shop, order


def gross(shop: Mill, order: int) -> list[int]:
    return [line["gross"] for line in seen(shop, order)["lines"]]


def share(shop: Mill, order: int) -> int:
    """What the units that were not shipped cost: each line's share, cut down to the cent."""
    return sum(
        g * left // n for g, left, n in zip(gross(shop, order), (2, 5, 3), (3, 7, 3), strict=True)
    )


def total(shop: Mill, order: int) -> int:
    return int(seen(shop, order)["total"])


def test_what_was_not_shipped_is_given_back_and_its_share_of_the_money_to_the_cent(
    mill: MakeMill,
) -> None:
    shop, order = odd_order(mill)

    cancel(shop, order)
    shop.payment_tasks.run()

    assert gross(shop, order) == [2703, 12619, 1347]
    assert booked(shop)["refund"] == share(shop, order) == 1802 + 9013 + 1347
    assert levels(shop) == {
        (MUG, "main"): (9, 0), (TEE, "main"): (8, 0), (POSTER, "main"): (10, 0),
    }  # fmt: skip
    assert (shop.status(order), progress(shop, order)) == ("confirmed", "fulfilled")
    assert findings(shop) == []


def test_the_lines_say_what_was_cancelled_and_the_timeline_who_did_it(mill: MakeMill) -> None:
    shop, order = odd_order(mill)

    cancel(shop, order)

    told = seen(shop, order)
    assert [(c["line_no"], c["sku"], c["units"]) for c in told["cancelled_lines"]] == [
        (1, MUG, 2), (2, TEE, 5), (3, POSTER, 3),
    ]  # fmt: skip
    [event] = [e for e in told["events"] if e["kind"] == "part_cancelled"]
    assert (event["actor"], json.loads(event["detail"])["amount"]) == ("ada", "121.62")
    assert shop.timeline(order)[-1] == "refund_requested"


def test_the_coupon_stays_used_and_shipping_is_kept(mill: MakeMill) -> None:
    shop, order = odd_order(mill)

    cancel(shop, order)
    shop.payment_tasks.run()

    assert len(shop.query("SELECT 1 FROM coupon_redemptions WHERE order_id = :id", id=order)) == 1
    act(shop, operations.refund, order, shipping=True)
    shop.payment_tasks.run()
    assert (booked(shop)["refund"], findings(shop)) == (share(shop, order) + 490, [])


def test_twice_is_once(mill: MakeMill) -> None:
    shop, order = odd_order(mill)
    cancel(shop, order)
    before = shop.timeline(order)

    cancel(shop, order)

    assert shop.timeline(order) == before


def test_the_rest_comes_back_and_is_refunded_to_the_last_cent(mill: MakeMill) -> None:
    shop, order = odd_order(mill)
    cancel(shop, order)

    take_back(shop, order, {1: 1}, reference="R-1", refund=True)
    take_back(shop, order, {2: 2}, reference="R-2", refund=True)
    act(shop, operations.refund, order, shipping=True)
    shop.payment_tasks.run()

    assert booked(shop)["refund"] == booked(shop)["capture"] == total(shop, order)
    assert findings(shop) == []


def test_who_waits_has_the_units_in_the_same_transaction(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3))
    order = sold(shop, [(MUG, 3)])
    ship(shop, order, lines={1: 1})
    waiting = shop.accept(lines=[(MUG, 2)])
    shop.turn()

    cancel(shop, order)

    assert levels(shop)[MUG, "main"] == (2, 2)
    shop.turn()
    assert (shop.status(waiting), findings(shop)) == ("confirmed", [])


def test_an_order_of_which_all_was_shipped_is_to_come_back_instead(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3))
    order = sold(shop, [(MUG, 3)])
    ship(shop, order)

    said = f"order {order} is shipped and can't be cancelled; .*`ordermill orders return {order}"
    with pytest.raises(NotAllowedNow, match=said):
        cancel(shop, order)


def test_an_order_of_which_nothing_was_shipped_is_undone_as_ever(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3))
    order = sold(shop, [(MUG, 3)])

    cancel(shop, order)
    shop.turn()

    assert (shop.status(order), levels(shop)) == ("cancelled", {(MUG, "main"): (3, 0)})
    assert (booked(shop)["refund"], findings(shop)) == (3000, [])


def test_what_came_back_before_is_no_reason_to_undo_the_order(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3))
    order = sold(shop, [(MUG, 3)])
    ship(shop, order, lines={1: 1})
    take_back(shop, order, {1: 1}, refund=True)

    cancel(shop, order)
    shop.payment_tasks.run()

    assert (shop.status(order), booked(shop)["refund"]) == ("confirmed", 3000)
    assert (levels(shop), findings(shop)) == ({(MUG, "main"): (3, 0)}, [])


# --- Money that is taken later --------------------------------------------------------------------


def test_what_is_due_shrinks_by_the_share_if_it_was_not_captured(mill: MakeMill) -> None:
    shop, order = odd_order(mill, capture="later")
    cancel(shop, order)
    due = total(shop, order) - share(shop, order)

    with pytest.raises(InvalidInput, match="are due"):
        act(shop, operations.capture, order, amount=due + 1)
    act(shop, operations.capture, order)
    shop.payment_tasks.run()

    assert (booked(shop)["capture"], booked(shop)["refund"]) == (due, 0)
    assert findings(shop) == []


def test_what_was_cancelled_unpaid_can_not_be_refunded_as_a_line(mill: MakeMill) -> None:
    shop, order = odd_order(mill, capture="later")
    cancel(shop, order)
    act(shop, operations.capture, order)
    shop.payment_tasks.run()

    with pytest.raises(InvalidInput, match="line 1: 1 of 3 units can be refunded, 2 were"):
        act(shop, operations.refund, order, lines={1: 2})

    act(shop, operations.refund, order, lines={1: 1, 2: 2}, shipping=True)
    shop.payment_tasks.run()
    assert booked(shop)["refund"] == booked(shop)["capture"]
    assert findings(shop) == []


def test_of_what_was_captured_in_part_only_what_is_too_much_goes_back(mill: MakeMill) -> None:
    shop, order = odd_order(mill, capture="later")
    act(shop, operations.capture, order, amount=total(shop, order) - 2000)
    shop.payment_tasks.run()

    cancel(shop, order)
    shop.payment_tasks.run()

    assert booked(shop)["refund"] == share(shop, order) - 2000
    assert findings(shop) == []


def test_while_the_capture_is_under_way_the_rest_can_not_be_cancelled(mill: MakeMill) -> None:
    shop, order = odd_order(mill, capture="later")
    act(shop, operations.capture, order)

    with pytest.raises(InvalidInput, match=f"order {order}: its capture is under way"):
        cancel(shop, order)

    shop.payment_tasks.run()
    cancel(shop, order)
    shop.payment_tasks.run()
    assert (booked(shop)["refund"], findings(shop)) == (share(shop, order), [])


# --- Money that went other ways -------------------------------------------------------------------


def test_an_invoice_that_is_not_paid_yet_shrinks(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3), gateway="manual")
    order = sold(shop, [(MUG, 3)], method="invoice")
    ship(shop, order, lines={1: 1})

    cancel(shop, order)
    act(shop, operations.record_payment, order, reference="BANK-1")

    assert [o for o in stand(shop, order) if o[0] != "authorize"] == [
        ("capture", "succeeded", 1000)
    ]
    assert (list(pages(shop)), findings(shop)) == ([], [])


def test_an_invoice_that_was_paid_is_paid_back_by_a_person_who_is_called(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3), gateway="manual")
    order = sold(shop, [(MUG, 3)], method="invoice")
    act(shop, operations.record_payment, order, reference="BANK-1")
    ship(shop, order, lines={1: 1})

    cancel(shop, order)

    assert list(pages(shop)) == ["order.refund_by_hand"]
    act(shop, operations.record_refund, order, reference="BANK-2", amount=2000)
    assert (stand(shop, order)[-1], findings(shop)) == (("refund", "succeeded", 2000), [])


def refunded_there(shop: Mill, order: int, amount: int) -> None:
    """By someone at the gateway."""
    shop.gateway.refund_at_gateway(reference(shop, order), amount)  # type: ignore[attr-defined]
    shop.gateway_events.poll()


def test_what_was_refunded_at_the_gateway_counts_as_given_back(mill: MakeMill) -> None:
    shop, order = odd_order(mill)
    refunded_there(shop, order, 1000)

    cancel(shop, order)
    shop.payment_tasks.run()

    assert sum(n for kind, _, n in stand(shop, order) if kind == "refund") == share(shop, order)
    assert (len(moved(shop, "shipment")), findings(shop)) == (2, [])
    take_back(shop, order, {1: 1, 2: 2}, refund=True)
    act(shop, operations.refund, order, shipping=True)
    shop.payment_tasks.run()
    assert status(shop, order) == "refunded"


def test_what_was_shipped_is_never_refunded_whatever_was_at_the_gateway(mill: MakeMill) -> None:
    shop, order = odd_order(mill)
    refunded_there(shop, order, total(shop, order) - 1000)

    cancel(shop, order)
    shop.payment_tasks.run()

    assert [kind for kind, _, _ in stand(shop, order)] == ["authorize", "capture", "refund"]
    assert (shop.status(order), progress(shop, order)) == ("confirmed", "fulfilled")
    assert findings(shop) == []


def test_what_is_captured_at_the_gateway_beyond_what_is_due_goes_back(mill: MakeMill) -> None:
    shop, order = odd_order(mill, capture="later")
    cancel(shop, order)
    authorized = written(shop, order)[0]
    whole = follow_up(authorized, "capture", authorized.amount, capture_key(authorized.key))
    assert isinstance(shop.gateway.perform(call_of(whole, None, reference(shop, order))), Succeeded)

    for _ in range(2):
        shop.gateway_events.poll()
        shop.payment_tasks.run()

    assert (booked(shop)["refund"], findings(shop)) == (share(shop, order), [])
    with pytest.raises(InvalidInput, match="line 1: 1 of 3 units can be refunded, 2 were"):
        act(shop, operations.refund, order, lines={1: 2})


def test_a_unit_that_was_refunded_as_it_came_broken_is_none_of_those_given_back(
    mill: MakeMill,
) -> None:
    shop = shelved(mill, (MUG, "main", 3))
    order = sold(shop, [(MUG, 3)])
    ship(shop, order, lines={1: 1})
    act(shop, operations.refund, order, lines={1: 1})

    cancel(shop, order)
    shop.payment_tasks.run()

    assert (booked(shop)["refund"], findings(shop)) == (3000, [])


def test_a_refund_that_the_gateway_refuses_calls_a_person_and_can_be_asked_for_anew(
    mill: MakeMill,
) -> None:
    shop, order = odd_order(mill)
    assert isinstance(shop.gateway, Gateway)
    shop.gateway.refuses = {"refund": Declined("no_funds")}

    cancel(shop, order)
    shop.payment_tasks.run()

    assert (list(pages(shop)), findings(shop)) == (["order.refund_failed"], [])
    shop.gateway.refuses = {}
    act(shop, operations.refund, order, lines={1: 2, 2: 5, 3: 3})
    shop.payment_tasks.run()
    assert booked(shop)["refund"] == share(shop, order)


# --- The arithmetic -------------------------------------------------------------------------------

_lines = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 10_000), st.integers(0, 9), st.integers(0, 9)),
    min_size=1, max_size=4,
)  # fmt: skip


@given(_lines, st.integers(0, 50_000), st.integers(0, 50_000))
def test_no_share_exceeds_what_was_paid_or_is_left_to_refund(
    lines: list[tuple[int, int, int, int]], uncaptured: int, by_amount: int
) -> None:
    """Lines as (quantity, gross, units refunded before, units left to ship)."""
    bought = tuple(QuotedLine(MUG, n, 0, 0, "0", g, 0, g) for n, g, _, _ in lines)
    sums = sum(line.gross for line in bought)
    quote = Quote(bought, None, sums, 0, sums, True, "half_up", "line")
    before = {i: (min(k, n), g * min(k, n) // n) for i, (n, g, k, _) in enumerate(lines, 1) if k}
    held = [Allotment(1, i, MUG, "main", min(k, n)) for i, (n, _, _, k) in enumerate(lines, 1) if k]
    captured = max(0, sums - uncaptured)
    refunded = min(captured, by_amount + sum(amount for _, amount in before.values()))
    account = Account(None, captured, refunded, 0, 0, 0, voided=False, open=())

    cancelled, parts, amount = split(quote, before, held, account)

    back = {part.line_no: part.amount for part in parts}
    assert [(c.line_no, c.units) for c in cancelled] == [(a.line_no, a.quantity) for a in held]
    assert amount <= min(captured - refunded, sum(back.values()))
    assert sum(c.unpaid for c in cancelled) <= max(0, sums - captured)
    for c in cancelled:
        assert before.get(c.line_no, (0, 0))[1] + c.amount <= bought[c.line_no - 1].gross
        assert back.get(c.line_no, 0) + c.unpaid == c.amount
    if uncaptured == by_amount == 0:
        assert amount == sum(back.values())
