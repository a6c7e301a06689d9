"""Undoing a payment, in whatever state it is: nothing is owed at the end, or a person is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline import operations
from pipeline.payments.account import follow_up
from pipeline.payments.gateway import (
    Call,
    Declined,
    Succeeded,
    Unavailable,
    Unknown,
    capture_key,
    void_key,
)
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage import payments
from tests.payments.shop import (
    Gateway,
    MakeMill,
    act,
    as_if_later,
    booked,
    cancel,
    findings,
    held,
    pages,
    reference,
    stand,
    status,
    where,
    written,
)
from tests.support import MUG, Mill

CHAINS = ["capture_first", "reserve_first"]
in_both_chains = pytest.mark.parametrize("chain", CHAINS)
#: What a gateway does makes no difference to the statements, which the other tests try on both.
on_one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def console(shop: Mill) -> Gateway:
    assert isinstance(shop.gateway, Gateway)
    return shop.gateway


def bought(mill: MakeMill, chain: str = "capture_first", **policy: object) -> tuple[Mill, int]:
    """A confirmed order of 20.00 EUR."""
    shop = mill(gateway=Gateway(), policy=Policy(chain=chain, **policy)).stocked()  # type: ignore[arg-type]
    order = shop.accept()
    shop.turn()
    assert where(shop, order) == ("confirmed", None)
    return shop, order


def assert_all_is_given_back(shop: Mill, order: int) -> None:
    assert shop.status(order) == "cancelled"
    assert held(shop) == 0
    assert shop.query("SELECT sum(reserved) FROM stock_levels") == [(0,)]
    assert shop.query("SELECT * FROM dispatches") == []
    assert shop.query("SELECT * FROM payment_tasks") == []
    assert findings(shop) == []


# --- In every state a payment can be in -----------------------------------------------------------


def authorized(shop: Mill) -> int:
    shop.another_source("shop", Policy(capture="later"))
    order = shop.accept()
    shop.turn()
    return order


def captured(shop: Mill) -> int:
    order = shop.accept()
    shop.turn()
    return order


def pending(shop: Mill) -> int:
    order = shop.accept(method="pm_requires_action")
    shop.turn(impatient=False)
    return order


def pending_and_confirmed(shop: Mill) -> int:
    """The customer has acted, and nobody has looked."""
    order = pending(shop)
    [waiting] = [op for op in written(shop, order) if op.state == "pending"]
    console(shop).confirm(waiting.reference or "")
    return order


def pending_and_failed(shop: Mill) -> int:
    order = pending(shop)
    [waiting] = [op for op in written(shop, order) if op.state == "pending"]
    console(shop).fail(waiting.reference or "")
    return order


def no_answer_to_the_authorization(shop: Mill) -> int:
    console(shop).loses = {"authorize"}
    order = shop.accept()
    shop.turn(impatient=False)
    return order


def no_answer_to_the_capture(shop: Mill) -> int:
    console(shop).loses = {"capture"}
    order = shop.accept()
    shop.turn(impatient=False)
    return order


def gateway_away(shop: Mill) -> int:
    console(shop).refuses = {"authorize": Unavailable("away", 200.0)}
    order = shop.accept()
    shop.turn(impatient=False)
    console(shop).refuses.clear()
    return order


def backordered(shop: Mill) -> int:
    order = shop.accept(lines=[(MUG, 1000)])
    shop.turn()
    return order


def captured_in_part(shop: Mill) -> int:
    order = authorized(shop)
    act(shop, operations.capture, order, amount=500)
    shop.payment_tasks.run()
    return order


def a_capture_on_its_way(shop: Mill) -> int:
    order = authorized(shop)
    act(shop, operations.capture, order)
    return order


def a_capture_whose_answer_was_lost(shop: Mill) -> int:
    order = authorized(shop)
    act(shop, operations.capture, order)
    console(shop).loses = {"capture"}
    shop.payment_tasks.run()
    return order


def refunded_in_part(shop: Mill) -> int:
    order = captured(shop)
    act(shop, operations.refund, order, amount=700)
    shop.payment_tasks.run()
    return order


def refunded(shop: Mill) -> int:
    order = captured(shop)
    act(shop, operations.refund, order)
    shop.payment_tasks.run()
    return order


def a_refund_on_its_way(shop: Mill) -> int:
    order = captured(shop)
    act(shop, operations.refund, order, amount=700)
    return order


def a_refund_whose_answer_was_lost(shop: Mill) -> int:
    order = captured(shop)
    act(shop, operations.refund, order, amount=700)
    console(shop).loses = {"refund"}
    shop.payment_tasks.run()
    return order


def refunded_at_the_gateway(shop: Mill) -> int:
    """By someone at its console, and nobody has told us."""
    order = captured(shop)
    console(shop).refund_at_gateway(reference(shop, order), 2000)
    return order


def refunded_in_part_at_the_gateway(shop: Mill) -> int:
    order = captured(shop)
    console(shop).refund_at_gateway(reference(shop, order), 700)
    return order


def lost_in_a_dispute(shop: Mill) -> int:
    order = captured(shop)
    dispute = console(shop).dispute(reference(shop, order), 2000)
    console(shop).close_dispute(dispute, won=False)
    return order


def voided_at_the_gateway(shop: Mill) -> int:
    order = authorized(shop)
    [claim] = [op for op in written(shop, order) if op.state == "succeeded"]
    call = Call("void", void_key(claim.key), 2000, "EUR", parent=claim.reference)
    assert isinstance(SandboxGateway.perform(console(shop), call), Succeeded)
    return order


def captured_at_the_gateway(shop: Mill) -> int:
    """A void will find that it comes too late."""
    order = authorized(shop)
    [claim] = [op for op in written(shop, order) if op.state == "succeeded"]
    call = Call("capture", capture_key(claim.key), 2000, "EUR", parent=claim.reference)
    assert isinstance(SandboxGateway.perform(console(shop), call), Succeeded)
    return order


STATES: list[Callable[[Mill], int]] = [
    authorized, captured, pending, pending_and_confirmed, pending_and_failed,
    no_answer_to_the_authorization, no_answer_to_the_capture, gateway_away, backordered,
    captured_in_part, a_capture_on_its_way, a_capture_whose_answer_was_lost, refunded_in_part,
    refunded, a_refund_on_its_way, a_refund_whose_answer_was_lost, refunded_at_the_gateway,
    refunded_in_part_at_the_gateway, lost_in_a_dispute, voided_at_the_gateway,
    captured_at_the_gateway,
]  # fmt: skip


@pytest.mark.parametrize(
    ("database", "chain"),
    [("sqlite", "capture_first"), ("sqlite", "reserve_first"), ("postgres", "capture_first")],
    indirect=["database"],
)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_an_order_cancelled_in_any_state_of_its_payment_has_all_given_back(
    mill: MakeMill, chain: str, state: Callable[[Mill], int]
) -> None:
    shop = mill(gateway=Gateway(), policy=Policy(chain=chain)).stocked(backorder=True)
    order = state(shop)

    cancel(shop, order)
    shop.turn()

    assert_all_is_given_back(shop, order)
    assert shop.row(order).reason == "cancelled"


@on_one_database
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_and_so_it_has_if_every_answer_to_the_undoing_is_lost_at_first(
    mill: MakeMill, state: Callable[[Mill], int]
) -> None:
    shop = mill(gateway=Gateway()).stocked(backorder=True)
    order = state(shop)
    console(shop).loses = {"void", "refund"}

    cancel(shop, order)
    shop.turn()

    assert_all_is_given_back(shop, order)


@on_one_database
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_and_so_it_has_if_the_gateway_is_away_for_a_while(
    mill: MakeMill, state: Callable[[Mill], int]
) -> None:
    shop = mill(gateway=Gateway()).stocked(backorder=True)
    order = state(shop)
    away = Unavailable("away")
    console(shop).refuses = {"void": away, "refund": away}
    cancel(shop, order)
    shop.make_due()
    shop.turn(impatient=False)
    console(shop).refuses.clear()

    shop.turn()

    assert_all_is_given_back(shop, order)


# --- Rounds ---------------------------------------------------------------------------------------


def test_what_is_left_of_a_refund_on_its_way_follows_it(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=700)

    cancel(shop, order)
    shop.turn()

    assert [op for op in stand(shop, order) if op[0] == "refund"] == [
        ("refund", "succeeded", 700),
        ("refund", "succeeded", 1300),
    ]
    assert shop.timeline(order).count("refunded") == 1  # the first had been asked for by a person


def test_the_job_leaves_the_tasks_of_an_order_that_is_undone_to_the_undo(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=700)
    cancel(shop, order)

    assert shop.payment_tasks.run() == []

    shop.turn()
    assert_all_is_given_back(shop, order)


def test_money_taken_while_it_is_given_back_is_given_back_too(mill: MakeMill) -> None:
    """A worker that hung charges after the undo has looked, and before it voids."""
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(capture="later")).stocked()
    order = shop.accept()
    shop.turn()
    act(shop, operations.capture, order)
    [capture] = [op for op in written(shop, order) if op.kind == "capture"]

    def charge_late(call: Call) -> None:
        if call.kind == "void":
            late = Call("capture", capture.key, 2000, "EUR", parent=call.parent)
            SandboxGateway.perform(gateway, late)

    gateway.before = charge_late
    cancel(shop, order)
    shop.turn()

    assert booked(shop) == {"authorize": 2000, "capture": 2000, "refund": 2000}
    assert_all_is_given_back(shop, order)


def test_what_is_written_of_the_payment_while_it_is_undone_is_not_overlooked(
    mill: MakeMill,
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(capture="later")).stocked()
    order = shop.accept()
    shop.turn()
    claim = next(op for op in written(shop, order) if op.state == "succeeded")

    def learn_of_a_capture(call: Call) -> None:
        if call.kind != "void":
            return
        gateway.before = lambda _: None
        gateway.refuses["void"] = Unavailable("away")
        capture = follow_up(claim, "capture", 2000, capture_key(claim.key))
        done = Call("capture", capture.key, 2000, "EUR", parent=claim.reference)
        assert isinstance(SandboxGateway.perform(gateway, done), Succeeded)
        with shop.database.transaction() as tx:
            payments.add(tx, [capture])
        shop.gateway_events.poll()

    gateway.before = learn_of_a_capture
    cancel(shop, order)
    shop.turn()

    assert shop.status(order) == "cancelled"
    assert held(shop) == 0


# --- Refused --------------------------------------------------------------------------------------


@in_both_chains
def test_an_undo_that_is_refused_holds_the_order_and_calls_a_person(
    mill: MakeMill, chain: str
) -> None:
    shop, order = bought(mill, chain)
    console(shop).refuses["refund"] = Declined("not_now")

    cancel(shop, order)
    shop.turn()

    assert where(shop, order) == ("on_hold", "undo_failed")
    assert list(pages(shop)) == ["order.undo_failed"]
    assert held(shop) == 2000


def test_it_is_called_again_each_time_it_fails(mill: MakeMill) -> None:
    shop, order = bought(mill, capture="later")
    console(shop).refuses["void"] = Declined("not_now")
    cancel(shop, order)
    shop.turn()

    act(shop, operations.requeue, [order])
    shop.turn()

    assert where(shop, order) == ("on_hold", "undo_failed")
    assert list(pages(shop)) == ["order.undo_failed"] * 2
    assert findings(shop) == []


@pytest.mark.parametrize("capture", ["at_once", "later"])
def test_released_once_the_gateway_gives_in_it_is_undone(mill: MakeMill, capture: str) -> None:
    shop, order = bought(mill, capture=capture)
    console(shop).refuses |= {"void": Declined("not_now"), "refund": Declined("not_now")}
    cancel(shop, order)
    shop.turn()
    console(shop).refuses.clear()

    act(shop, operations.requeue, [order])
    shop.turn()

    assert_all_is_given_back(shop, order)


def test_a_refusal_that_can_not_be_looked_into_is_tried_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    console(shop).refund_at_gateway(reference(shop, order), 2000)
    console(shop).is_away = True

    cancel(shop, order)
    shop.make_due()
    shop.turn(impatient=False)
    assert shop.status(order) == "cancelling"
    console(shop).is_away = False
    shop.turn()

    assert_all_is_given_back(shop, order)


def test_money_in_an_open_dispute_is_not_refunded_twice(mill: MakeMill) -> None:
    shop, order = bought(mill)
    dispute = console(shop).dispute(reference(shop, order), 2000)
    cancel(shop, order)
    shop.turn()
    assert where(shop, order) == ("on_hold", "undo_failed")
    console(shop).close_dispute(dispute, won=False)
    shop.gateway_events.poll()

    act(shop, operations.requeue, [order])
    shop.turn()

    assert booked(shop) == {"authorize": 2000, "capture": 2000, "dispute": 2000}
    assert_all_is_given_back(shop, order)


# --- Money that no machine moves ------------------------------------------------------------------


def test_an_open_invoice_is_given_up(mill: MakeMill) -> None:
    shop = mill(policy=Policy(gateway="manual")).stocked()
    order = shop.accept(method="invoice")
    shop.turn()

    cancel(shop, order)
    shop.turn()

    assert_all_is_given_back(shop, order)


def test_a_transfer_that_never_came_is_given_up(mill: MakeMill) -> None:
    shop = mill(policy=Policy(gateway="manual")).stocked()
    order = shop.accept(method="prepaid")
    shop.turn(impatient=False)

    cancel(shop, order)
    shop.turn()

    assert_all_is_given_back(shop, order)


@in_both_chains
def test_a_paid_invoice_is_paid_back_by_a_person(mill: MakeMill, chain: str) -> None:
    shop = mill(policy=Policy(gateway="manual", chain=chain)).stocked()
    order = shop.accept(method="invoice")
    shop.turn()
    act(shop, operations.record_payment, order, reference="BANK-1")

    cancel(shop, order)
    shop.turn()
    assert where(shop, order) == ("on_hold", "undo_failed")
    assert list(pages(shop)) == ["order.undo_failed"]
    act(shop, operations.record_refund, order, reference="BANK-2")
    shop.turn()

    assert (shop.status(order), status(shop, order)) == ("cancelled", "refunded")
    assert findings(shop) == []


def test_one_that_is_paid_back_in_parts_waits_for_the_last(mill: MakeMill) -> None:
    shop = mill(policy=Policy(gateway="manual")).stocked()
    order = shop.accept(method="invoice")
    shop.turn()
    act(shop, operations.record_payment, order, reference="BANK-1")
    cancel(shop, order)
    shop.turn()

    act(shop, operations.record_refund, order, reference="BANK-2", amount=500)
    shop.turn()
    assert where(shop, order) == ("on_hold", "undo_failed")
    act(shop, operations.record_refund, order, reference="BANK-3")
    shop.turn()

    assert shop.status(order) == "cancelled"
    assert findings(shop) == []


def test_no_answer_at_all_is_asked_for_again_and_at_last_held(mill: MakeMill) -> None:
    shop, order = bought(mill)
    console(shop).refuses["refund"] = Unknown("time-out")

    cancel(shop, order)
    shop.turn()

    assert where(shop, order)[0] == "on_hold"
    assert len({call.key for call in console(shop).asked if call.kind == "refund"}) == 1


def test_a_charge_that_may_yet_come_is_waited_for_from_when_the_order_is_undone(
    mill: MakeMill,
) -> None:
    """However long ago it was first asked for: whoever was about to ask again may still do so."""
    gateway = Gateway()
    gateway.refuses["authorize"] = Unavailable("away")
    shop = mill(gateway=gateway).stocked()
    shop.engine.steps["undo_pay"].latest_charge = 90.0  # type: ignore[attr-defined]
    order = shop.accept()
    shop.engine.work("validate")
    as_if_later(shop, order, 3600)  # asked for then, and again and again since
    cancel(shop, order)
    shop.turn(impatient=False)

    assert shop.status(order) == "cancelling"
    assert stand(shop, order) == [("authorize", "requested", 2000), ("capture", "requested", 2000)]
