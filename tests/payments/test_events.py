"""Events from gateways: hints to read the payment. Twice, shuffled, forged, early, late, never."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline import operations
from pipeline.errors import GatewayAway, UnknownGateway
from pipeline.payments import events as payment_events
from pipeline.payments.events import GatewayEvents
from pipeline.payments.gateway import (
    Call,
    Declined,
    GatewayEvent,
    InvalidEvent,
    Succeeded,
    Unknown,
    capture_key,
)
from pipeline.payments.sandbox import SandboxGateway
from pipeline.payments.tasks import VOID_ATTEMPTS
from pipeline.source import Policy
from pipeline.storage import gateway_events
from tests.payments.shop import (
    UNPAID,
    Gateway,
    MakeMill,
    act,
    as_if_later,
    booked,
    cancel,
    events,
    findings,
    held,
    make_tasks_due,
    pages,
    reference,
    stand,
    status,
    tell,
    where,
    written,
)
from tests.support import MUG, Mill

CHAINS = ["capture_first", "reserve_first"]
in_both_chains = pytest.mark.parametrize("chain", CHAINS)


def console(shop: Mill) -> Gateway:
    assert isinstance(shop.gateway, Gateway)
    return shop.gateway


def bought(mill: MakeMill) -> tuple[Mill, int]:
    """A confirmed order of 20.00 EUR."""
    shop = mill(gateway=Gateway()).stocked()
    order = shop.accept()
    shop.turn()
    assert where(shop, order) == ("confirmed", None)
    return shop, order


def waiting(mill: MakeMill, chain: str = "capture_first", *, units: int = 100) -> tuple[Mill, int]:
    """An order that waits for its customer."""
    shop = mill(gateway=Gateway(), policy=Policy(chain=chain, payment_expires_after=600)).stocked(
        units=units
    )
    order = shop.accept(method="pm_requires_action")
    shop.turn(impatient=False)
    assert where(shop, order)[1] == "requires_action"
    return shop, order


def expired(mill: MakeMill, chain: str = "capture_first", *, units: int = 100) -> tuple[Mill, int]:
    """One whose customer let the time pass."""
    shop, order = waiting(mill, chain, units=units)
    as_if_later(shop, order, 601)
    shop.turn()
    assert where(shop, order) == ("cancelled", "payment_expired")
    return shop, order


def pending(shop: Mill, order: int) -> str:
    [found] = [op.reference for op in written(shop, order) if op.state == "pending"]
    assert found is not None
    return found


def kept(shop: Mill) -> list[tuple[int | None, str | None]]:
    """What became of the events that are kept: (order, outcome)."""
    query = "SELECT order_id, outcome FROM gateway_events ORDER BY received_at, event_id"
    return [(row.order_id, row.outcome) for row in shop.query(query)]


def snapshot(shop: Mill, order: int) -> object:
    """All that an event could change."""
    return shop.row(order), shop.timeline(order), written_states(shop, order), booked(shop)


def written_states(shop: Mill, order: int) -> list[tuple[str, str]]:
    return sorted((op.key, op.state) for op in written(shop, order))


# --- Taken in -------------------------------------------------------------------------------------


def test_an_event_of_an_unknown_gateway_is_refused_with_those_there_are(mill: MakeMill) -> None:
    shop, _ = bought(mill)

    with pytest.raises(UnknownGateway, match="'paypal'; expected manual, sandbox"):
        shop.gateway_events.receive("paypal", b"{}", {})


def test_a_forged_event_is_refused_and_not_kept(mill: MakeMill) -> None:
    shop, order = bought(mill)
    before = snapshot(shop, order)
    forger = SandboxGateway(None)

    with pytest.raises(InvalidEvent):
        shop.gateway_events.receive("sandbox", *forger.sign(events(shop)[0]))

    assert (kept(shop), snapshot(shop, order)) == ([], before)


def test_an_old_event_is_refused(mill: MakeMill) -> None:
    shop, _ = bought(mill)
    yesterday = datetime.now(UTC) - timedelta(days=1)

    with pytest.raises(InvalidEvent):
        shop.gateway_events.receive("sandbox", *console(shop).sign(events(shop)[0], yesterday))


def test_an_event_that_tells_nothing_new_changes_nothing(mill: MakeMill) -> None:
    shop, order = bought(mill)
    before = snapshot(shop, order)

    for event in events(shop):
        tell(shop, event)

    assert snapshot(shop, order) == before
    assert kept(shop) == [(order, "nothing_new")] * 2


def test_an_event_is_kept_once(mill: MakeMill) -> None:
    shop, _ = bought(mill)

    for _ in range(3):
        tell(shop, events(shop)[0])

    assert len(kept(shop)) == 1


@pytest.mark.parametrize(
    "told", [("sbx_nobody", None), ("sbx_theirs", "theirs")], ids=["no payment", "another shop's"]
)
def test_one_about_no_payment_of_ours_is_kept_and_done_with(
    mill: MakeMill, told: tuple[str, str | None]
) -> None:
    shop, order = bought(mill)
    name, key = told
    if key:  # an order of the same number, in another shop on the same account
        console(shop).perform(Call("authorize", key, 100, "EUR", "pm_card_visa", order_id=order))
    before = snapshot(shop, order)

    tell(shop, GatewayEvent("evt_1", "payment.created", name))

    assert kept(shop) == [(None, "not_ours")]
    assert snapshot(shop, order)[:3] == before[:3]  # type: ignore[index]


# --- Before our own commit ------------------------------------------------------------------------


@in_both_chains
@pytest.mark.parametrize("kind", ["authorize", "capture"])
def test_an_event_that_comes_before_our_own_commit_changes_nothing_in_the_end(
    mill: MakeMill, chain: str, kind: str
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()
    told: list[str] = []
    perform = SandboxGateway.perform

    def perform_and_tell(call: Call) -> object:
        answer = perform(gateway, call)
        if call.kind == kind:
            for event in events(shop):
                tell(shop, event)
                told.append(event.type)
        return answer

    gateway.perform = perform_and_tell  # type: ignore[method-assign,assignment]
    order = shop.accept()
    shop.turn()

    assert told
    assert where(shop, order) == ("confirmed", None)
    assert booked(shop) == {"authorize": 2000, "capture": 2000}
    assert findings(shop) == []


# --- What waits for it ----------------------------------------------------------------------------


@in_both_chains
def test_an_order_that_waits_for_its_customer_goes_on_at_once(mill: MakeMill, chain: str) -> None:
    shop, order = waiting(mill, chain)
    others = [shop.accept(method="pm_requires_action") for _ in range(2)]
    shop.turn(impatient=False)
    console(shop).confirm(pending(shop, order))

    tell(shop, events(shop)[-1])
    shop.turn(impatient=False)

    assert where(shop, order) == ("confirmed", None)
    assert {where(shop, other)[1] for other in others} == {"requires_action"}
    assert findings(shop) == []


def test_one_whose_customer_failed_is_declined_at_once(mill: MakeMill) -> None:
    shop, order = waiting(mill)
    console(shop).fail(pending(shop, order))

    tell(shop, events(shop)[-1])
    shop.turn(impatient=False)

    assert where(shop, order) == ("rejected", "declined")


def test_one_that_got_no_answer_goes_on_at_once(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway()).stocked()
    console(shop).loses = {"capture"}
    order = shop.accept()
    shop.turn(impatient=False)
    assert where(shop, order) == (UNPAID, "payment_unknown")

    tell(shop, events(shop)[-1])
    shop.turn(impatient=False)

    assert where(shop, order) == ("confirmed", None)
    assert "payment_observed" in shop.timeline(order)
    assert booked(shop) == {"authorize": 2000, "capture": 2000}


def test_while_the_customer_is_still_to_act_nobody_is_woken(mill: MakeMill) -> None:
    shop, order = waiting(mill)

    tell(shop, events(shop)[-1])

    assert shop.engine.work("pay") == 0
    assert kept(shop) == [(order, "nothing_new")]


# --- What others do at the gateway ----------------------------------------------------------------


def test_a_refund_made_at_the_gateway_shows_on_the_order(mill: MakeMill) -> None:
    shop, order = bought(mill)
    theirs = console(shop).refund_at_gateway(reference(shop, order), 700)

    tell(shop, events(shop)[-1])

    assert stand(shop, order)[-1] == ("refund", "succeeded", 700)
    assert written(shop, order)[-1].key == theirs
    assert (status(shop, order), shop.timeline(order)[-1]) == ("partially_refunded", "refunded")
    [event] = shop.query("SELECT actor, detail FROM events WHERE kind = 'refunded'")
    assert event.actor == "gateway:sandbox"
    assert theirs in event.detail
    assert findings(shop) == []


def test_it_counts_against_what_may_be_refunded(mill: MakeMill) -> None:
    shop, order = bought(mill)
    console(shop).refund_at_gateway(reference(shop, order), 700)
    tell(shop, events(shop)[-1])

    act(shop, operations.refund, order)
    shop.payment_tasks.run()

    assert [op for op in stand(shop, order) if op[0] == "refund"] == [
        ("refund", "succeeded", 700),
        ("refund", "succeeded", 1300),
    ]


@pytest.mark.parametrize(("won", "ends"), [(True, "dispute_won"), (False, "dispute_lost")])
def test_a_dispute_shows_on_the_order_until_it_is_won_or_for_good(
    mill: MakeMill, won: bool, ends: str
) -> None:
    shop, order = bought(mill)
    dispute = console(shop).dispute(reference(shop, order), 2000)
    tell(shop, events(shop)[-1])
    assert (status(shop, order), shop.timeline(order)[-1]) == ("disputed", "disputed")
    assert findings(shop) == []

    console(shop).close_dispute(dispute, won=won)
    tell(shop, events(shop)[-1])

    assert shop.timeline(order)[-1] == ends
    assert status(shop, order) == ("captured" if won else "disputed")
    assert held(shop) == (2000 if won else 0)
    assert findings(shop) == []


def test_a_refund_of_ours_that_the_gateway_tells_of_first_ends_its_task(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, amount=700)
    console(shop).loses = {"refund"}
    shop.payment_tasks.run()

    tell(shop, events(shop)[-1])

    assert shop.query("SELECT * FROM payment_tasks") == []
    assert shop.timeline(order)[-2:] == ["refund_requested", "refunded"]
    assert status(shop, order) == "partially_refunded"
    assert findings(shop) == []


def bounced(shop: Mill, order: int) -> None:
    """Its customer's bank sends its latest refund back."""
    its = [op for op in written(shop, order) if op.kind == "refund" and op.state == "succeeded"]
    console(shop).bounce(its[-1].reference or "")
    for _ in range(2):
        tell(shop, replace(events(shop)[-1], id=f"evt_{uuid.uuid4()}"))


def test_a_refund_that_bounces_shows_once_and_calls_a_person(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, lines={1: 1})
    shop.payment_tasks.run()

    bounced(shop, order)

    assert status(shop, order) == "captured"
    assert shop.timeline(order)[-2:] == ["refunded", "refund_failed"]
    assert list(pages(shop)) == ["order.refund_failed"]
    assert findings(shop) == []


def test_what_bounced_may_be_refunded_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    act(shop, operations.refund, order, lines={1: 2})
    shop.payment_tasks.run()
    bounced(shop, order)

    act(shop, operations.refund, order, lines={1: 2})
    shop.payment_tasks.run()

    assert (status(shop, order), held(shop), findings(shop)) == ("refunded", 0, [])


def test_a_refund_of_the_console_that_bounces_shows(mill: MakeMill) -> None:
    shop, order = bought(mill)
    console(shop).refund_at_gateway(reference(shop, order), 700)
    tell(shop, events(shop)[-1])

    bounced(shop, order)

    assert (status(shop, order), findings(shop)) == ("captured", [])


def test_of_an_order_that_is_over_it_is_given_back_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    cancel(shop, order)
    shop.turn()

    bounced(shop, order)
    assert shop.timeline(order)[-2:] == ["refund_failed", "refund_requested"]
    shop.payment_tasks.run()

    assert (held(shop), status(shop, order)) == (0, "refunded")
    assert findings(shop) == []


def test_one_that_was_told_it_gets_its_money_back_is_not_brought_back_by_a_bounce(
    mill: MakeMill,
) -> None:
    shop, order = expired(mill, units=2)
    another = shop.accept(lines=[(MUG, 2)])
    shop.turn()
    console(shop).pay_late(pending(shop, order))
    tell(shop, events(shop)[-1])
    shop.payment_tasks.run()
    cancel(shop, another)
    shop.turn()

    bounced(shop, order)
    shop.payment_tasks.run()

    assert where(shop, order) == ("cancelled", "payment_expired")
    assert (held(shop), findings(shop)) == (0, [])


def test_a_void_made_at_the_gateway_shows(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(), policy=Policy(capture="later")).stocked()
    order = shop.accept()
    shop.turn()
    [claim] = [op for op in written(shop, order) if op.state == "succeeded"]
    SandboxGateway.perform(
        console(shop), Call("void", f"{claim.key}.void", 2000, "EUR", parent=claim.reference)
    )

    tell(shop, events(shop)[-1])

    assert status(shop, order) == "none"


# --- Money that comes late ------------------------------------------------------------------------


@in_both_chains
def test_money_for_an_order_that_expired_unpaid_brings_it_back(mill: MakeMill, chain: str) -> None:
    shop, order = expired(mill, chain)
    console(shop).pay_late(pending(shop, order))

    tell(shop, events(shop)[-1])
    assert where(shop, order) == (UNPAID, None)
    shop.turn(impatient=False)

    assert where(shop, order) == ("confirmed", None)
    assert (shop.row(order).chain, shop.row(order).settled_at is not None) == (
        "capture_first",
        True,
    )
    assert (status(shop, order), held(shop)) == ("captured", 2000)
    assert "reinstated" in shop.timeline(order)
    assert kept(shop)[-1] == (order, "reinstated")
    assert findings(shop) == []


@in_both_chains
def test_if_its_stock_is_gone_the_money_goes_back(mill: MakeMill, chain: str) -> None:
    shop, order = expired(mill, chain, units=2)
    another = shop.accept(lines=[(MUG, 2)])
    shop.turn()
    assert shop.status(another) == "confirmed"
    console(shop).pay_late(pending(shop, order))

    tell(shop, events(shop)[-1])
    assert kept(shop)[-1] == (order, "refund_requested")
    assert findings(shop) == []
    shop.payment_tasks.run()

    assert where(shop, order) == ("cancelled", "payment_expired")
    assert status(shop, order) == "refunded"
    assert findings(shop) == []


def test_if_its_stock_goes_while_it_comes_back_the_money_goes_back_too(mill: MakeMill) -> None:
    shop, order = expired(mill, units=2)
    console(shop).pay_late(pending(shop, order))
    tell(shop, events(shop)[-1])
    another = shop.accept(lines=[(MUG, 2)])
    for step in ("validate", "price", "pay", "reserve"):
        if step != "pay":
            shop.engine.work(step)
    shop.turn()

    assert sorted(map(shop.status, (order, another))) == ["cancelled", "confirmed"]
    assert findings(shop) == []


def test_money_for_an_order_that_somebody_cancelled_goes_back(mill: MakeMill) -> None:
    shop, order = waiting(mill)
    cancel(shop, order)
    shop.turn()
    console(shop).pay_late(pending(shop, order))

    tell(shop, events(shop)[-1])
    shop.payment_tasks.run()

    assert where(shop, order) == ("cancelled", "cancelled")
    assert (status(shop, order), held(shop)) == ("refunded", 0)
    assert shop.timeline(order)[-2:] == ["refund_requested", "refunded"]
    assert findings(shop) == []


def test_if_it_can_not_be_given_back_a_person_is_called(mill: MakeMill) -> None:
    shop, order = waiting(mill)
    cancel(shop, order)
    shop.turn()
    console(shop).pay_late(pending(shop, order))
    console(shop).refuses["refund"] = Declined("card_expired")
    tell(shop, events(shop)[-1])
    shop.payment_tasks.run()

    assert list(pages(shop)) == ["order.refund_failed"]
    [said] = findings(shop)
    assert "keeps what it captured (2000 kept)" in said


def undone_but_for_its_stock(mill: MakeMill) -> tuple[Mill, int]:
    """A cancelled order whose payment has been undone, and whose units have yet to be released."""
    shop, order = waiting(mill, "reserve_first")
    cancel(shop, order)
    shop.make_due()
    shop.engine.work("pay")
    while shop.row(order).stage == "undo_pay":
        shop.make_due()
        shop.engine.work("undo_pay")
    assert (shop.status(order), shop.row(order).stage) == ("cancelling", "undo_reserve")
    return shop, order


def test_money_that_comes_between_the_undo_of_a_payment_and_the_end_goes_back_at_once(
    mill: MakeMill,
) -> None:
    shop, order = undone_but_for_its_stock(mill)
    console(shop).pay_late(pending(shop, order))

    tell(shop, events(shop)[-1])
    shop.payment_tasks.run()
    assert (status(shop, order), held(shop)) == ("refunded", 0)
    shop.turn()

    assert where(shop, order) == ("cancelled", "cancelled")
    assert findings(shop) == []


def test_and_if_it_can_not_be_a_person_is_called(mill: MakeMill) -> None:
    shop, order = undone_but_for_its_stock(mill)
    console(shop).pay_late(pending(shop, order))
    console(shop).refuses["refund"] = Declined("card_expired")

    tell(shop, events(shop)[-1])
    shop.payment_tasks.run()

    assert list(pages(shop)) == ["order.refund_failed"]


def to_be_voided(mill: MakeMill) -> tuple[Mill, int]:
    """An order that is over, and whose authorization turned up after all."""
    shop = mill(gateway=Gateway()).stocked()
    console(shop).refuses["authorize"] = Unknown("time-out")
    order = shop.accept()
    shop.turn(impatient=False)
    console(shop).refuses.clear()
    cancel(shop, order)
    shop.turn()
    key = written(shop, order)[0].key
    late = Call("authorize", key, 2000, "EUR", "pm_card_visa", order_id=order)
    assert isinstance(SandboxGateway.perform(console(shop), late), Succeeded)
    tell(shop, events(shop)[-1])
    return shop, order


def try_to_void(shop: Mill, times: int) -> None:
    console(shop).refuses["void"] = Declined("not_now")
    for _ in range(times):
        make_tasks_due(shop)
        shop.payment_tasks.run()
    console(shop).refuses.clear()


def test_a_void_that_is_refused_is_asked_for_again(mill: MakeMill) -> None:
    shop, _ = to_be_voided(mill)
    try_to_void(shop, VOID_ATTEMPTS - 1)
    assert (list(pages(shop)), findings(shop)) == ([], [])

    make_tasks_due(shop)
    shop.payment_tasks.run()

    assert (held(shop), findings(shop)) == (0, [])


def test_but_not_for_ever_then_a_person_is_called(mill: MakeMill) -> None:
    shop, order = to_be_voided(mill)

    try_to_void(shop, VOID_ATTEMPTS)

    assert list(pages(shop)) == ["order.refund_failed"]
    assert shop.query("SELECT * FROM payment_tasks") == []
    assert shop.timeline(order)[-1] == "void_failed"


def test_an_authorization_that_turns_up_when_all_is_over_is_voided(mill: MakeMill) -> None:
    """As by a worker that hung, lost the order, and charged after all."""
    shop = mill(gateway=Gateway()).stocked()
    console(shop).refuses["authorize"] = Unknown("time-out")
    order = shop.accept()
    shop.turn(impatient=False)
    console(shop).refuses.clear()
    cancel(shop, order)
    shop.turn()
    assert shop.status(order) == "cancelled"
    key = written(shop, order)[0].key
    late = Call("authorize", key, 2000, "EUR", "pm_card_visa", order_id=order)
    assert isinstance(SandboxGateway.perform(console(shop), late), Succeeded)

    tell(shop, events(shop)[-1])
    assert kept(shop)[-1] == (order, "void_requested")
    shop.payment_tasks.run()

    assert (held(shop), findings(shop)) == (0, [])


def test_a_capture_that_turns_up_when_all_is_over_is_refunded(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(), policy=Policy(capture="later")).stocked()
    order = shop.accept()
    shop.turn()
    claim = next(op for op in written(shop, order) if op.state == "succeeded")
    cancel(shop, order)
    console(shop).refuses["void"] = Succeeded("as it says")
    shop.turn()
    assert shop.status(order) == "cancelled"
    late = Call("capture", capture_key(claim.key), 2000, "EUR", parent=claim.reference)
    assert isinstance(SandboxGateway.perform(console(shop), late), Succeeded)

    tell(shop, events(shop)[-1])
    shop.payment_tasks.run()

    assert held(shop) == 0


# --- In any order, any number of times ------------------------------------------------------------


def a_life_with_everything(shop: Mill) -> list[int]:
    """Orders to which, at the gateway, everything happens that can without us."""
    paid, disputed, refused = (shop.accept() for _ in range(3))
    acting, late = (shop.accept(method="pm_requires_action") for _ in range(2))
    shop.turn(impatient=False)
    gateway = console(shop)
    gateway.refund_at_gateway(reference(shop, paid), 500)
    dispute = gateway.dispute(reference(shop, disputed), 2000)
    gateway.close_dispute(dispute, won=False)
    gateway.close_dispute(gateway.dispute(reference(shop, refused), 700), won=True)
    gateway.confirm(pending(shop, acting))
    as_if_later(shop, late, 601)
    shop.make_due()
    while any(shop.engine.work(step) for step in ("pay", "undo_pay")):
        shop.make_due()
    gateway.pay_late(pending(shop, late))
    return [paid, disputed, refused, acting, late]


@pytest.mark.parametrize("seed", range(6))
def test_events_twice_and_shuffled_come_to_the_same(mill: MakeMill, seed: int) -> None:
    shop = mill(gateway=Gateway(), policy=Policy(payment_expires_after=600)).stocked()
    orders = a_life_with_everything(shop)
    dice = random.Random(seed)
    told = events(shop) * 2
    dice.shuffle(told)

    for event in told:
        tell(shop, event)
        if not dice.randrange(3):
            shop.turn(impatient=False)
    shop.turn()
    shop.payment_tasks.run()

    assert [status(shop, order) for order in orders] == [
        "partially_refunded",
        "disputed",
        "captured",
        "captured",
        "captured",
    ]
    assert {shop.status(order) for order in orders} == {"confirmed"}
    assert findings(shop) == []


def test_events_that_never_come_are_polled_for(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(), policy=Policy(payment_expires_after=600)).stocked()
    orders = a_life_with_everything(shop)

    done = shop.gateway_events.poll()
    shop.turn()

    assert done == {"processed": len(events(shop)), "away": 0}
    assert {shop.status(order) for order in orders} == {"confirmed"}
    assert [status(shop, order) for order in orders][:2] == ["partially_refunded", "disputed"]
    assert findings(shop) == []


def test_a_flood_is_worked_off_before_more_is_fetched(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, order = bought(mill)
    monkeypatch.setattr(payment_events, "TIME_LIMIT", 0.0)
    monkeypatch.setattr(payment_events, "PAGE", 1)
    for event in events(shop):
        with shop.database.transaction() as tx:
            gateway_events.keep(tx, "sandbox", [event])
    console(shop).refund_at_gateway(reference(shop, order), 700)

    polled = [shop.gateway_events.poll()["processed"] for _ in range(4)]

    assert polled == [1, 1, 1, 0]
    assert status(shop, order) == "partially_refunded"


def test_what_is_polled_for_keeps_no_shopper_waiting(mill: MakeMill) -> None:
    shop, _ = bought(mill)
    read, readers = console(shop).read, []
    console(shop).read = lambda its: readers.append(threading.current_thread().name) or read(its)  # type: ignore[method-assign]

    tell(shop, events(shop)[0])
    shop.gateway_events.poll()

    assert ["bulk" in name for name in readers] == [False, True]


def test_what_was_polled_is_not_processed_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    shop.gateway_events.poll()
    before = snapshot(shop, order)

    assert shop.gateway_events.poll() == {"processed": 0, "away": 0}

    assert snapshot(shop, order) == before


# --- What fails meanwhile -------------------------------------------------------------------------


def test_while_the_gateway_can_not_be_read_an_event_is_kept_for_later(mill: MakeMill) -> None:
    shop, order = bought(mill)
    console(shop).refund_at_gateway(reference(shop, order), 700)
    console(shop).is_away = True
    tell(shop, events(shop)[-1])
    assert kept(shop) == [(None, None)]
    assert shop.gateway_events.poll()["processed"] == 0
    console(shop).is_away = False

    shop.gateway_events.poll()

    assert status(shop, order) == "partially_refunded"


def test_whoever_dies_between_keeping_and_processing_leaves_it_to_the_poll(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, order = bought(mill)
    console(shop).refund_at_gateway(reference(shop, order), 700)

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(GatewayEvents, "_process", die)
        with pytest.raises(KeyboardInterrupt):
            tell(shop, events(shop)[-1])
    assert kept(shop) == [(None, None)]

    shop.gateway_events.poll()

    assert status(shop, order) == "partially_refunded"
    assert (order, "observed") in kept(shop)


def test_a_payment_that_can_not_be_understood_does_not_keep_the_others(mill: MakeMill) -> None:
    shop, order = bought(mill)
    other = shop.accept()
    shop.turn()
    for one in (order, other):
        console(shop).refund_at_gateway(reference(shop, one), 700)
    broken, read = reference(shop, order), console(shop).read

    def read_or_break(its: str) -> object:
        if its == broken:
            raise RuntimeError("a defect of the adapter")
        return read(its)

    console(shop).read = read_or_break  # type: ignore[method-assign,assignment]

    shop.gateway_events.poll()

    assert [status(shop, one) for one in (order, other)] == ["captured", "partially_refunded"]
    assert (None, None) in kept(shop)


def test_a_list_that_can_not_be_read_to_its_end_is_read_again(mill: MakeMill) -> None:
    shop, order = bought(mill)
    listed: Callable[[datetime], object] = console(shop).events

    def away(since: datetime) -> object:
        raise GatewayAway("no answer")

    console(shop).events = away  # type: ignore[method-assign,assignment]
    assert shop.gateway_events.poll() == {"processed": 0, "away": 1}
    console(shop).events = listed  # type: ignore[method-assign,assignment]
    console(shop).refund_at_gateway(reference(shop, order), 700)

    shop.gateway_events.poll()

    assert status(shop, order) == "partially_refunded"
