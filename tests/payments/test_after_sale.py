"""After the sale: refunds and captures by a person, done once, whoever dies meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import operations
from pipeline.errors import InvalidInput, NotAllowedNow
from pipeline.payments.account import OBSERVED, latest_of
from pipeline.payments.gateway import Call, Declined, Unavailable, Unknown, capture_key
from pipeline.payments.refunds import SHIPPING, parts
from pipeline.pricing.quote import Quote, QuotedLine, QuotedShipping
from pipeline.source import Policy
from pipeline.storage import payment_tasks, payments, views
from tests.payments.shop import (
    Gateway,
    MakeMill,
    act,
    as_if_later,
    booked,
    cancel,
    findings,
    held,
    make_tasks_due,
    pages,
    stand,
    status,
    where,
    written,
)
from tests.support import MUG, TEE, Mill


def console(shop: Mill) -> Gateway:
    assert isinstance(shop.gateway, Gateway)
    return shop.gateway


def bought(mill: MakeMill, lines: list[tuple[str, int]] | None = None, **policy: object) -> tuple[Mill, int]:  # fmt: skip
    """A confirmed order of two mugs and a shirt, 40.00 EUR."""
    shop = mill(gateway=Gateway(), policy=Policy(**policy)).stocked()  # type: ignore[arg-type]
    order = shop.accept(lines=lines or [(MUG, 2), (TEE, 1)])
    shop.turn()
    assert where(shop, order) == ("confirmed", None)
    return shop, order


def refunds(shop: Mill, order: int) -> list[tuple[str, int]]:
    return [(state, amount) for kind, state, amount in stand(shop, order) if kind == "refund"]


# --- How much -------------------------------------------------------------------------------------


def test_all_that_is_left_is_refunded_if_nothing_is_said(mill: MakeMill) -> None:
    shop, order = bought(mill)

    act(shop, operations.refund, order)
    shop.payment_tasks.run()

    assert refunds(shop, order) == [("succeeded", 4000)]
    assert (status(shop, order), shop.status(order)) == ("refunded", "confirmed")
    assert (held(shop), findings(shop)) == (0, [])


def test_amounts_are_refunded_until_nothing_is_left(mill: MakeMill) -> None:
    shop, order = bought(mill)

    for amount in (1, 999, 3000):
        act(shop, operations.refund, order, amount=amount)
        shop.payment_tasks.run()

    assert booked(shop)["refund"] == 4000
    with pytest.raises(InvalidInput, match=rf"order {order}: 0.00 EUR can be refunded"):
        act(shop, operations.refund, order)


def test_more_than_is_left_is_refused_in_words_what_is_on_its_way_counted(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=3000)
    act(shop, operations.refund, order, amount=500)

    with pytest.raises(
        InvalidInput, match=rf"^order {order}: 5.00 EUR can be refunded, 12.00 were asked for$"
    ):
        act(shop, operations.refund, order, amount=1200)

    assert refunds(shop, order) == [("requested", 3000), ("requested", 500)]


@pytest.mark.parametrize("amount", [0, -100])
def test_nothing_and_less_is_refused(mill: MakeMill, amount: int) -> None:
    shop, order = bought(mill)

    with pytest.raises(InvalidInput, match=r"40.00 EUR can be refunded"):
        act(shop, operations.refund, order, amount=amount)


def test_what_a_bank_disputes_can_not_be_refunded(mill: MakeMill) -> None:
    shop, order = bought(mill)
    [claim] = [op for op in written(shop, order) if (op.kind, op.state) == ("authorize", "succeeded")]  # fmt: skip
    console(shop).dispute(claim.reference or "", 3000)
    shop.gateway_events.poll()

    with pytest.raises(InvalidInput, match=r"10.00 EUR can be refunded"):
        act(shop, operations.refund, order, amount=1001)


def test_those_who_ask_at_once_are_served_one_after_the_other(mill: MakeMill) -> None:
    shop, order = bought(mill)

    def ask(_: int) -> bool:
        try:
            act(shop, operations.refund, order, amount=1500)
        except InvalidInput:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        granted = sum(pool.map(ask, range(8)))
    shop.payment_tasks.run()

    assert granted == 2
    assert booked(shop)["refund"] == 3000


def test_an_order_that_is_not_confirmed_is_not_refunded(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway()).stocked(units=2, backorder=True)
    order = shop.accept(lines=[(MUG, 9)])
    shop.turn()

    with pytest.raises(NotAllowedNow, match=rf"order {order} is backordered and can't be refunded"):
        act(shop, operations.refund, order)


def test_an_amount_and_lines_at_once_are_refused(mill: MakeMill) -> None:
    shop, order = bought(mill)

    with pytest.raises(InvalidInput, match=r"not of both"):
        act(shop, operations.refund, order, amount=100, lines={1: 1})


# --- Lines ----------------------------------------------------------------------------------------

SHIPPED = {
    "shipping": {
        "default": "parcel",
        "methods": {"parcel": {"name": "Parcel", "rates": [{"price": {"EUR": "4.90"}}]}},
    }
}


def test_units_of_lines_and_shipping_are_refunded_at_what_was_paid_for_them(
    mill: MakeMill,
) -> None:
    shop = mill(gateway=Gateway(), rules=SHIPPED).stocked()
    order = shop.accept(lines=[(MUG, 2), (TEE, 1)])
    shop.turn()

    act(shop, operations.refund, order, lines={1: 1, 2: 1})
    act(shop, operations.refund, order, shipping=True)
    shop.payment_tasks.run()

    assert refunds(shop, order) == [("succeeded", 3000), ("succeeded", 490)]
    assert findings(shop) == []


def test_a_refund_says_its_net_and_its_tax_and_all_of_them_come_to_the_order_s(
    mill: MakeMill,
) -> None:
    zone = {"name": "GB", "country": "DE", "rates": {"standard": [{"name": "VAT", "rate": "0.2"}]}}
    off = {"id": "off", "name": "Off", "effect": {"type": "percent", "percent": 25}}
    taxed = {**SHIPPED, "includes_tax": True, "tax": {"zones": [zone]}, "promotions": [off]}
    shop = mill(gateway=Gateway(), rules=taxed).stocked()
    order = shop.accept(lines=[(MUG, 7), (TEE, 1)])
    shop.turn()

    act(shop, operations.refund, order, lines={1: 3})
    act(shop, operations.refund, order, amount=1234)
    act(shop, operations.refund, order, shipping=True)
    act(shop, operations.refund, order)
    shop.payment_tasks.run()

    with shop.database.snapshot() as tx:
        found = views.one(tx, order)
    told = [
        json.loads(e["detail"])
        for e in found["events"]
        if e["kind"] in ("refund_requested", "refunded")
    ]
    asked = told[:4]
    assert all(Decimal(e["net"]) + Decimal(e["tax"]) == Decimal(e["amount"]) for e in told)
    assert sorted(map(str, (e | {"lines": 0} for e in asked))) == sorted(
        map(str, (e | {"lines": 0} for e in told[4:]))
    )
    for name in ("net", "tax"):
        assert sum(Decimal(e[name]) for e in asked) == Decimal(found["quote"][name]).scaleb(-2)
    rows = {(p["key"], p["net"], p["tax"]) for p in found["payments"] if p["kind"] == "refund"}
    assert sum(tax for _, _, tax in rows) == found["quote"]["tax"]
    assert all(p["net"] is None for p in found["payments"] if p["kind"] != "refund")
    assert findings(shop) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"lines": {3: 1}}, "has no line 3; expected one from 1 to 2"),
        ({"lines": {0: 1}}, "has no line 0"),
        ({"lines": {1: 3}}, "line 1: 2 of 2 units can be refunded, 3 were asked for"),
        ({"lines": {1: 0}}, "0 were asked for"),
        ({"shipping": True}, "paid for no shipping"),
    ],
)
def test_what_was_not_bought_is_refused_in_words(
    mill: MakeMill, asked: dict[str, object], said: str
) -> None:
    shop, order = bought(mill)

    with pytest.raises(InvalidInput, match=said):
        act(shop, operations.refund, order, **asked)


def test_units_that_are_refunded_or_on_their_way_are_not_refunded_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, lines={1: 1})

    with pytest.raises(InvalidInput, match=r"line 1: 1 of 2 units can be refunded, 2 were asked"):
        act(shop, operations.refund, order, lines={1: 2})


def test_units_whose_refund_failed_may_be_refunded_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    console(shop).refuses["refund"] = Declined("card_expired")
    act(shop, operations.refund, order, lines={1: 2})
    shop.payment_tasks.run()
    console(shop).refuses.clear()

    act(shop, operations.refund, order, lines={1: 2})
    shop.payment_tasks.run()

    assert refunds(shop, order) == [("failed", 2000), ("succeeded", 2000)]


def test_units_whose_refund_failed_and_then_was_found_to_have_succeeded_may_not(
    mill: MakeMill,
) -> None:
    shop, order = bought(mill)
    console(shop).refuses["refund"] = Declined("card_expired")
    act(shop, operations.refund, order, lines={1: 1})
    shop.payment_tasks.run()
    console(shop).refuses.clear()
    [failed] = [op for op in written(shop, order) if op.state == "failed"]
    with shop.database.transaction() as tx:
        payments.add(tx, [replace(failed, state="succeeded", reference="re_1", code=OBSERVED)])

    with pytest.raises(InvalidInput, match=r"line 1: 1 of 2 units can be refunded, 2 were asked"):
        act(shop, operations.refund, order, lines={1: 2})


def test_shipping_is_refunded_once(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(), rules=SHIPPED).stocked()
    order = shop.accept()
    shop.turn()
    act(shop, operations.refund, order, shipping=True)

    with pytest.raises(InvalidInput, match=r"shipping is refunded already"):
        act(shop, operations.refund, order, shipping=True)


lines = st.tuples(st.integers(1, 50), st.integers(0, 10_000))  # quantity, gross


@given(st.lists(lines, min_size=1, max_size=4), st.integers(0, 900), st.data())
def test_whatever_the_order_of_parts_they_add_up_to_what_was_paid_to_the_minor_unit(
    bought: list[tuple[int, int]], shipping: int, data: st.DataObject
) -> None:
    """Units one by one or several at once, some refunds failing on the way."""
    quote = a_quote(bought, shipping)
    refunded: dict[int, tuple[int, int]] = {}
    left = Counter({n: quantity for n, (quantity, _) in enumerate(bought, 1)})
    while left.total():
        number = data.draw(st.sampled_from(sorted(left.elements())))
        units = data.draw(st.integers(1, left[number]))
        [part] = parts(7, quote, refunded, {number: units}, shipping=False)
        assert part.amount >= 0
        if data.draw(st.integers(0, 3)) < 3:  # else it failed
            done, amount = refunded.get(number, (0, 0))
            refunded[number] = done + units, amount + part.amount
            left[number] -= units
            left += Counter()
    [shipped] = parts(7, quote, refunded, {}, shipping=True)

    assert (shipped.line_no, shipped.amount) == (SHIPPING, shipping)
    assert {n: amount for n, (_, amount) in refunded.items()} == {
        n: gross for n, (_, gross) in enumerate(bought, 1)
    }


@given(lines, st.data())
def test_units_that_fail_after_others_were_asked_for_still_add_up(
    line: tuple[int, int], data: st.DataObject
) -> None:
    """Several are under way at once, and any of them may fail."""
    quantity, gross = line
    quote = a_quote([line], 0)
    asked: list[tuple[int, int]] = []
    while (left := quantity - sum(units for units, _ in asked)) > 0:
        taken = {1: (quantity - left, sum(amount for _, amount in asked))}
        [part] = parts(7, quote, taken, {1: data.draw(st.integers(1, left))}, shipping=False)
        asked.append((part.units, part.amount))
        if data.draw(st.integers(0, 4)) == 4:
            asked.pop(data.draw(st.integers(0, len(asked) - 1)))

    assert sum(amount for _, amount in asked) == gross


def a_quote(bought: list[tuple[int, int]], shipping: int) -> Quote:
    quoted = tuple(
        QuotedLine(f"SKU-{n}", quantity, 0, 0, "0", gross, 0, gross)
        for n, (quantity, gross) in enumerate(bought)
    )
    shipped = QuotedShipping("parcel", shipping, 0, shipping, 0, shipping)
    total = sum(gross for _, gross in bought) + shipping
    return Quote(quoted, shipped, total, 0, total, True, "half_up", "line")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_units_refunded_one_by_one_sum_to_the_line_s_gross_through_the_database(
    mill: MakeMill,
) -> None:
    rules = {
        "promotions": [
            {
                "id": "third", "name": "A third off", "target": "lines",
                "effect": {"type": "fixed_price", "price": {"EUR": "3.33"}},
            },
            {
                "id": "cent", "name": "One cent", "target": "order",
                "effect": {"type": "fixed", "amount": {"EUR": "0.01"}},
            },
        ]
    }  # fmt: skip
    shop = mill(gateway=Gateway(), rules=rules).stocked()
    order = shop.accept(lines=[(MUG, 7)])
    shop.turn()

    for _ in range(7):
        act(shop, operations.refund, order, lines={1: 1})
        shop.payment_tasks.run()

    assert (booked(shop)["capture"], booked(shop)["refund"]) == (2330, 2330)
    assert {amount for _, amount in refunds(shop, order)} == {332, 333}


# --- Captures -------------------------------------------------------------------------------------


def test_what_was_authorized_is_captured_in_all_or_part_once(mill: MakeMill) -> None:
    shop, order = bought(mill, capture="later")

    operation = act(shop, operations.capture, order, amount=1500)
    shop.payment_tasks.run()

    assert operation.key == capture_key(written(shop, order)[0].key)
    assert (booked(shop)["capture"], status(shop, order)) == (1500, "captured")
    with pytest.raises(
        InvalidInput, match=r"an authorization has one capture, and that of 15.00 EUR was made"
    ):
        act(shop, operations.capture, order)
    assert findings(shop) == []


def test_a_capture_that_is_under_way_or_failed_is_not_asked_for_again(mill: MakeMill) -> None:
    shop, order = bought(mill, capture="later")
    act(shop, operations.capture, order)
    with pytest.raises(InvalidInput, match=r"is under way"):
        act(shop, operations.capture, order)
    console(shop).refuses["capture"] = Declined("expired")
    shop.payment_tasks.run()

    with pytest.raises(InvalidInput, match=r"failed"):
        act(shop, operations.capture, order)

    assert shop.timeline(order)[-2:] == ["capture_requested", "capture_failed"]


def test_no_more_is_captured_than_is_authorized(mill: MakeMill) -> None:
    shop, order = bought(mill, capture="later")

    with pytest.raises(InvalidInput, match=r"40.00 EUR are authorized, 40.01 were asked for"):
        act(shop, operations.capture, order, amount=4001)


def test_what_was_captured_in_part_is_refunded_up_to_that(mill: MakeMill) -> None:
    shop, order = bought(mill, capture="later")
    act(shop, operations.capture, order, amount=1500)
    shop.payment_tasks.run()

    with pytest.raises(InvalidInput, match=r"15.00 EUR can be refunded, 20.00 were asked for"):
        act(shop, operations.refund, order, lines={1: 2})
    act(shop, operations.refund, order)
    shop.payment_tasks.run()

    assert (status(shop, order), held(shop)) == ("refunded", 0)


def test_an_order_that_nobody_authorized_has_nothing_to_capture(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept(lines=[("MUG-99", 1)])
    shop.turn()

    with pytest.raises(NotAllowedNow):
        act(shop, operations.capture, order)


# --- Tasks ----------------------------------------------------------------------------------------


def test_it_is_persisted_with_its_task_and_its_event_before_anything_is_done(
    mill: MakeMill,
) -> None:
    shop, order = bought(mill)

    operation = act(shop, operations.refund, order, amount=700, reason="broken")

    assert shop.query("SELECT order_id, key, attempts FROM payment_tasks") == [
        (order, operation.key, 0)
    ]
    [event] = shop.query("SELECT reason, actor, detail FROM events WHERE kind = 'refund_requested'")
    assert (event.reason, event.actor) == ("broken", "ada")
    assert '"amount": "7.00"' in event.detail
    assert booked(shop)["refund"] == 0
    assert findings(shop) == []


def test_its_end_ends_the_task_and_is_told(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=700)

    [done] = shop.payment_tasks.run()

    assert (done.state, done.amount) == ("succeeded", 700)
    assert shop.query("SELECT * FROM payment_tasks") == []
    assert shop.timeline(order)[-2:] == ["refund_requested", "refunded"]


def test_a_refusal_ends_it_too(mill: MakeMill) -> None:
    shop, order = bought(mill)
    console(shop).refuses["refund"] = Declined("card_expired")
    act(shop, operations.refund, order, amount=700)

    [done] = shop.payment_tasks.run()

    assert (done.state, done.code) == ("failed", "card_expired")
    assert shop.timeline(order)[-1] == "refund_failed"
    assert list(pages(shop)) == []  # who asked for it is told
    assert status(shop, order) == "captured"


@pytest.mark.parametrize("answer", [Unknown("time-out"), Unavailable("away")])
def test_no_answer_is_asked_for_later_under_the_same_key(
    mill: MakeMill, answer: Unknown | Unavailable
) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=700)
    console(shop).refuses["refund"] = answer
    shop.payment_tasks.run()
    assert shop.payment_tasks.run() == []  # not yet
    console(shop).refuses.clear()
    make_tasks_due(shop)

    shop.payment_tasks.run()

    assert refunds(shop, order) == [("succeeded", 700)]
    assert len({call.key for call in console(shop).asked if call.kind == "refund"}) == 1


def test_a_lost_answer_is_looked_up_before_it_is_asked_for_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=700)
    console(shop).loses = {"refund"}
    shop.payment_tasks.run()
    make_tasks_due(shop)

    shop.payment_tasks.run()

    assert console(shop).kinds().count("refund") == 1
    assert booked(shop)["refund"] == 700


def test_whoever_dies_with_a_task_in_hand_leaves_it_to_another(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=700)

    def die(_: Call) -> None:
        console(shop).before = lambda _: None
        raise KeyboardInterrupt

    console(shop).before = die
    with pytest.raises(KeyboardInterrupt):
        shop.payment_tasks.run()
    assert shop.payment_tasks.run() == []  # its own for a while
    make_tasks_due(shop)

    shop.payment_tasks.run()

    assert refunds(shop, order) == [("succeeded", 700)]


def test_of_several_who_look_for_work_one_does_a_task(mill: MakeMill) -> None:
    shop, order = bought(mill)
    for _ in range(10):
        act(shop, operations.refund, order, amount=100)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: shop.payment_tasks.run(), range(4)))

    assert sum(map(len, done)) == 10
    assert console(shop).kinds().count("refund") == 10
    assert shop.timeline(order).count("refunded") == 10


def test_whoever_asked_does_only_his_own(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=100)
    mine = act(shop, operations.refund, order, amount=200)

    done = shop.payment_tasks.run([(order, mine.key)])

    assert [op.amount for op in done] == [200]
    assert refunds(shop, order) == [("requested", 100), ("succeeded", 200)]


def test_a_task_whose_operation_has_ended_is_dropped(mill: MakeMill) -> None:
    shop, order = bought(mill)
    operation = act(shop, operations.refund, order, amount=100)
    shop.payment_tasks.run()
    with shop.database.transaction() as tx:
        payment_tasks.add(tx, [(order, operation.key)])

    assert shop.payment_tasks.run() == []

    assert shop.query("SELECT * FROM payment_tasks") == []
    assert console(shop).kinds().count("refund") == 1


# --- Money that no machine moves ------------------------------------------------------------------


def invoiced(mill: MakeMill, method: str = "invoice", **policy: object) -> tuple[Mill, int]:
    shop = mill(policy=Policy(gateway="manual", **policy)).stocked()  # type: ignore[arg-type]
    order = shop.accept(method=method)
    shop.turn(impatient=False)
    return shop, order


def test_the_money_of_an_invoice_is_recorded_when_it_comes(mill: MakeMill) -> None:
    shop, order = invoiced(mill)

    act(shop, operations.record_payment, order, reference="BANK-1")
    act(shop, operations.record_payment, order, reference="BANK-1")

    assert (status(shop, order), shop.timeline(order).count("captured")) == ("captured", 1)
    [capture] = [op for op in latest_of(written(shop, order)) if op.kind == "capture"]
    assert (capture.reference, capture.amount) == ("BANK-1", 2000)
    assert findings(shop) == []


def test_an_order_that_waits_for_the_money_goes_on_when_it_comes(mill: MakeMill) -> None:
    shop, order = invoiced(mill, "prepaid")

    act(shop, operations.record_payment, order, reference="BANK-1")
    shop.turn(impatient=False)

    assert (where(shop, order), status(shop, order)) == (("confirmed", None), "captured")
    assert findings(shop) == []


def test_it_goes_on_for_the_whole_amount_only(mill: MakeMill) -> None:
    shop, order = invoiced(mill, "prepaid")

    with pytest.raises(InvalidInput, match=r"waits for 20.00 EUR, 5.00 were recorded"):
        act(shop, operations.record_payment, order, reference="BANK-1", amount=500)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"reference": "BANK-2"}, "is recorded as paid, under BANK-1"),
        ({"reference": "BANK-1", "amount": 1}, "is recorded as paid"),
    ],
)
def test_another_payment_of_the_same_order_is_refused(
    mill: MakeMill, asked: dict[str, object], said: str
) -> None:
    shop, order = invoiced(mill)
    act(shop, operations.record_payment, order, reference="BANK-1")

    with pytest.raises(InvalidInput, match=said):
        act(shop, operations.record_payment, order, **asked)


@pytest.mark.parametrize("reference", ["", "x" * 65, "BANK\n1"])
def test_a_reference_that_is_none_is_refused_by_name(mill: MakeMill, reference: str) -> None:
    shop, order = invoiced(mill)

    for record in (operations.record_payment, operations.record_refund):
        with pytest.raises(InvalidInput, match=r"^reference: expected"):
            act(shop, record, order, reference=reference)


def test_only_what_no_machine_moves_is_recorded(mill: MakeMill) -> None:
    shop, order = bought(mill)

    for record in (operations.record_payment, operations.record_refund):
        with pytest.raises(InvalidInput, match=rf"order {order} is not paid by hand"):
            act(shop, record, order, reference="BANK-1")


def test_and_no_machine_is_asked_for_what_a_person_must_do(mill: MakeMill) -> None:
    shop, order = invoiced(mill)
    with pytest.raises(InvalidInput, match=rf"orders capture {order} --reference"):
        act(shop, operations.capture, order)
    act(shop, operations.record_payment, order, reference="BANK-1")

    with pytest.raises(InvalidInput, match=rf"payments record-refund {order}"):
        act(shop, operations.refund, order)


def test_a_refund_by_hand_is_recorded_once_and_within_what_was_paid(mill: MakeMill) -> None:
    shop, order = invoiced(mill)
    act(shop, operations.record_payment, order, reference="BANK-1")

    act(shop, operations.record_refund, order, reference="BANK-2", amount=500)
    act(shop, operations.record_refund, order, reference="BANK-2", amount=500)

    assert status(shop, order) == "partially_refunded"
    with pytest.raises(InvalidInput, match=r"BANK-2 is recorded with 5.00 EUR"):
        act(shop, operations.record_refund, order, reference="BANK-2", amount=600)
    with pytest.raises(InvalidInput, match=r"15.00 EUR are to be paid back, 20.00 were asked for"):
        act(shop, operations.record_refund, order, reference="BANK-3", amount=2000)
    assert findings(shop) == []


def test_money_that_comes_after_an_order_expired_brings_it_back(mill: MakeMill) -> None:
    shop, order = invoiced(mill, "prepaid", payment_expires_after=600)
    as_if_later(shop, order, 601)
    shop.turn()
    assert where(shop, order) == ("cancelled", "payment_expired")

    act(shop, operations.record_payment, order, reference="BANK-1")
    shop.turn()

    assert (where(shop, order), status(shop, order)) == (("confirmed", None), "captured")
    assert findings(shop) == []


def test_money_that_comes_while_a_cancelled_order_s_stock_is_released_calls_a_person_too(
    mill: MakeMill,
) -> None:
    shop, order = invoiced(mill, "prepaid", chain="reserve_first")
    cancel(shop, order)
    shop.make_due()
    shop.engine.work("pay")
    while shop.row(order).stage == "undo_pay":
        shop.make_due()
        shop.engine.work("undo_pay")
    assert shop.row(order).stage == "undo_reserve"

    act(shop, operations.record_payment, order, reference="BANK-1")
    shop.payment_tasks.run()

    assert list(pages(shop)) == ["order.refund_failed"]


def test_money_that_comes_after_an_order_was_cancelled_calls_a_person(mill: MakeMill) -> None:
    shop, order = invoiced(mill, "prepaid")
    cancel(shop, order)
    shop.turn()

    act(shop, operations.record_payment, order, reference="BANK-1")
    shop.payment_tasks.run()
    assert list(pages(shop)) == ["order.refund_failed"]
    act(shop, operations.record_refund, order, reference="BANK-2")

    assert (shop.status(order), status(shop, order)) == ("cancelled", "refunded")
    assert findings(shop) == []
