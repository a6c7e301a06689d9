"""The payment stage: once, whatever gets lost; at once or later; and what waits for its customer."""

from __future__ import annotations

import pytest

from pipeline.assembly import steps
from pipeline.engine.engine import Limits
from pipeline.payments.callers import Callers
from pipeline.payments.gateway import (
    Declined,
    Kind,
    Unavailable,
    Unknown,
    capture_key,
)
from pipeline.payments.manual import ManualGateway
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from tests.payments.shop import (
    UNPAID,
    Gateway,
    MakeMill,
    as_if_later,
    booked,
    events,
    findings,
    held,
    reference,
    stand,
    status,
    tell,
    where,
    written,
)
from tests.support import Mill

CHAINS = ["capture_first", "reserve_first"]
in_both_chains = pytest.mark.parametrize("chain", CHAINS)


@in_both_chains
def test_a_capture_is_named_after_its_authorization(mill: MakeMill, chain: str) -> None:
    shop = mill(policy=Policy(chain=chain)).stocked()

    order = shop.accept()
    shop.turn()

    authorize, capture = (op.key for op in written(shop, order) if op.state == "requested")
    assert capture == capture_key(authorize)
    assert [entry.key for entry in shop.gateway.book()] == [authorize, capture]


def test_the_gateway_is_told_the_order_and_when_the_key_was_persisted(mill: MakeMill) -> None:
    gateway = Gateway()
    gateway.refuses["authorize"] = Unknown("time-out")
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn(impatient=False)
    gateway.refuses.clear()

    shop.turn()

    [requested] = [op for op in written(shop, order) if (op.kind, op.state) == ("authorize", "requested")]  # fmt: skip
    assert {call.order_id for call in gateway.asked} == {order}
    assert gateway.asked[1].asked_at == requested.at


@pytest.mark.parametrize("kind", ["authorize", "capture"])
@in_both_chains
def test_no_answer_is_looked_up_before_anything_is_asked_again(
    mill: MakeMill, chain: str, kind: Kind
) -> None:
    gateway = Gateway()
    gateway.loses = {kind}
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()

    order = shop.accept()
    shop.turn()

    assert where(shop, order) == ("confirmed", None)
    assert gateway.kinds() == ["authorize", "capture"]
    assert booked(shop) == {"authorize": 2000, "capture": 2000}


# --- Which gateway --------------------------------------------------------------------------------


def test_a_source_s_orders_are_paid_at_its_gateway(mill: MakeMill) -> None:
    shop = mill().stocked()
    wholesale = shop.another_source("wholesale", Policy(gateway="manual"))
    retail = shop.accept()
    shop.source = wholesale
    invoiced = shop.accept(method="invoice")

    shop.turn()

    assert (status(shop, retail), status(shop, invoiced)) == ("captured", "authorized")
    assert {op.gateway for op in written(shop, invoiced)} == {"manual"}
    assert [shop.status(order) for order in (retail, invoiced)] == ["confirmed"] * 2


@pytest.mark.parametrize("by_now", [Policy(gateway="manual"), Policy(capture="later")])
def test_a_payment_that_was_begun_is_ended_where_it_was_whatever_the_policy_says_by_now(
    mill: MakeMill, by_now: Policy
) -> None:
    gateway = Gateway()
    gateway.refuses["capture"] = Unknown("time-out")
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn(impatient=False)
    shop.another_source("shop", by_now)
    gateway.refuses.clear()

    shop.turn()

    assert where(shop, order) == ("confirmed", None)
    assert {op.gateway for op in written(shop, order)} == {"sandbox"}
    assert (status(shop, order), findings(shop)) == ("captured", [])


def test_goods_first_stay_so_whatever_the_policy_says_by_now(mill: MakeMill) -> None:
    shop = mill(policy=Policy(gateway="manual")).stocked()
    order = shop.accept(method="invoice")
    manual = shop.gateways["manual"]
    perform, manual.perform = manual.perform, lambda call: Unknown("time-out")  # type: ignore[method-assign]
    shop.turn(impatient=False)
    shop.another_source("shop", Policy(gateway="sandbox"))
    manual.perform = perform  # type: ignore[method-assign]

    shop.turn()

    assert where(shop, order) == ("confirmed", None)
    assert (status(shop, order), findings(shop)) == ("authorized", [])


def test_a_gateway_that_is_not_configured_postpones_its_orders_for_nothing(mill: MakeMill) -> None:
    shop = mill(policy=Policy(gateway="stripe"), limits=Limits(attempts=2)).stocked()

    order = shop.accept()
    for _ in range(4):
        shop.make_due()
        shop.turn(impatient=False)

    assert where(shop, order) == (UNPAID, "gateway_unavailable")


# --- Nothing to pay -------------------------------------------------------------------------------


def free(shop: Mill) -> Mill:
    shop.price_by(
        {
            "promotions": [
                {
                    "id": "gift", "name": "A gift", "target": "lines",
                    "effect": {"type": "percent", "percent": "100"},
                }
            ]
        }
    )  # fmt: skip
    return shop


@in_both_chains
@pytest.mark.parametrize("payment", [None, {"method": "pm_card_visa"}])
def test_an_order_that_costs_nothing_is_paid_without_asking_anybody(
    mill: MakeMill, chain: str, payment: object
) -> None:
    gateway = Gateway()
    shop = free(mill(gateway=gateway, policy=Policy(chain=chain)).stocked())

    order = shop.accept(payment=payment)
    shop.turn()

    assert (where(shop, order), gateway.asked) == (("confirmed", None), [])
    assert findings(shop) == []


def test_one_that_costs_something_needs_a_method(mill: MakeMill) -> None:
    shop = mill().stocked()

    order = shop.accept(payment=None)
    shop.turn()

    assert where(shop, order) == ("rejected", "no_payment_method")


# --- Later ----------------------------------------------------------------------------------------


@in_both_chains
def test_a_source_that_captures_later_is_paid_with_the_authorization(
    mill: MakeMill, chain: str
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain, capture="later")).stocked()

    order = shop.accept()
    shop.turn()

    assert where(shop, order) == ("confirmed", None)
    assert (gateway.kinds(), status(shop, order)) == (["authorize"], "authorized")
    assert findings(shop) == []


# --- The customer must act ------------------------------------------------------------------------


def waiting(mill: MakeMill, chain: str = "capture_first", **policy: object) -> tuple[Mill, int]:
    """An order that waits for its customer to pass 3-D Secure."""
    shop = mill(gateway=Gateway(), policy=Policy(chain=chain, **policy)).stocked()  # type: ignore[arg-type]
    order = shop.accept(method="pm_requires_action")
    shop.turn(impatient=False)
    assert where(shop, order)[1] == "requires_action"
    return shop, order


def console(shop: Mill) -> SandboxGateway:
    assert isinstance(shop.gateway, SandboxGateway)
    return shop.gateway


def pending_reference(shop: Mill, order: int) -> str:
    [pending] = [op for op in written(shop, order) if op.state == "pending"]
    assert pending.reference is not None
    return pending.reference


@in_both_chains
def test_an_order_whose_customer_must_act_waits_and_goes_on_once_he_has(
    mill: MakeMill, chain: str
) -> None:
    shop, order = waiting(mill, chain)
    assert stand(shop, order)[0] == ("authorize", "pending", 2000)

    console(shop).confirm(pending_reference(shop, order))
    shop.turn()

    assert where(shop, order) == ("confirmed", None)
    assert booked(shop) == {"authorize": 2000, "capture": 2000}
    assert findings(shop) == []


def test_waiting_for_a_customer_burns_no_attempts(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(), limits=Limits(attempts=2)).stocked()
    order = shop.accept(method="pm_requires_action")

    for _ in range(5):
        shop.make_due()
        shop.turn(impatient=False)

    assert where(shop, order) == (UNPAID, "requires_action")
    assert findings(shop) == []


@in_both_chains
def test_a_customer_who_fails_is_declined(mill: MakeMill, chain: str) -> None:
    shop, order = waiting(mill, chain)

    console(shop).fail(pending_reference(shop, order))
    shop.turn()

    ended = "rejected" if chain == "capture_first" else "cancelled"
    assert where(shop, order) == (ended, "declined")
    assert (held(shop), findings(shop)) == (0, [])


@in_both_chains
def test_one_who_lets_the_time_pass_gets_what_stands_voided_and_the_order_cancelled(
    mill: MakeMill, chain: str
) -> None:
    shop, order = waiting(mill, chain, payment_expires_after=600)
    as_if_later(shop, order, 601)

    shop.turn()

    assert where(shop, order) == ("cancelled", "payment_expired")
    assert [entry.kind for entry in shop.gateway.book()] == ["void"]
    assert shop.query("SELECT sum(reserved) FROM stock_levels") == [(0,)]
    assert findings(shop) == []


def test_the_time_runs_from_when_the_customer_was_asked_not_from_when_we_first_tried(
    mill: MakeMill,
) -> None:
    gateway = Gateway()
    gateway.refuses["authorize"] = Unavailable("away for hours")
    shop = mill(gateway=gateway, policy=Policy(payment_expires_after=600)).stocked()
    order = shop.accept(method="pm_requires_action")
    shop.turn(impatient=False)
    as_if_later(shop, order, 7200)
    gateway.refuses.clear()

    for _ in range(2):
        shop.make_due()
        shop.turn(impatient=False)

    assert where(shop, order) == (UNPAID, "requires_action")


def delay(shop: Mill) -> float:
    """Seconds until the next look."""
    [(delay,)] = shop.query("SELECT max(julianday(due_at) - julianday(created_at)) * 86400 FROM dispatches") if shop.database.is_sqlite else shop.query("SELECT extract(epoch FROM max(due_at - created_at)) FROM dispatches")  # fmt: skip
    return float(delay)


def test_the_last_look_is_when_the_time_is_over_not_a_look_later(mill: MakeMill) -> None:
    shop, order = waiting(mill, payment_expires_after=600)
    as_if_later(shop, order, 590)

    shop.make_due()
    shop.turn(impatient=False)

    assert 1 <= delay(shop) <= 11


def test_the_longer_it_waits_the_rarer_are_the_looks(mill: MakeMill) -> None:
    days, look = 14 * 86_400, 86_400 / 10
    shop, order = waiting(mill, payment_expires_after=days)
    as_if_later(shop, order, 86_400)

    shop.make_due()
    shop.turn(impatient=False)

    assert look - 1 <= delay(shop) <= look + 10


@in_both_chains
def test_money_that_was_given_back_before_its_order_was_paid_buys_no_goods(
    mill: MakeMill, chain: str
) -> None:
    gateway = Gateway()
    gateway.loses = {"capture"}
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()
    order = shop.accept()
    shop.turn(impatient=False)
    gateway.refund_at_gateway(reference(shop, order), 2000)
    for event in events(shop):
        tell(shop, event)

    shop.turn()

    assert where(shop, order) == ("cancelled", "payment_returned")
    assert shop.query("SELECT sum(reserved) FROM stock_levels") in ([(0,)], [(None,)])
    assert (held(shop), findings(shop)) == (0, [])


def test_what_is_left_of_money_that_was_given_back_in_part_goes_back_too(mill: MakeMill) -> None:
    gateway = Gateway()
    gateway.loses = {"capture"}
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn(impatient=False)
    gateway.refund_at_gateway(reference(shop, order), 500)
    for event in events(shop):
        tell(shop, event)

    shop.turn()

    assert where(shop, order) == ("cancelled", "payment_returned")
    assert booked(shop)["refund"] == 2000
    assert findings(shop) == []


@in_both_chains
def test_one_who_pays_in_the_last_moment_has_paid(mill: MakeMill, chain: str) -> None:
    shop, order = waiting(mill, chain, payment_expires_after=600)
    console(shop).confirm(pending_reference(shop, order))
    as_if_later(shop, order, 601)

    shop.turn()

    assert where(shop, order) == ("confirmed", None)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Unknown("time-out"), "payment_unknown"), (Unavailable("429", 3.0), "gateway_unavailable")],
)
def test_a_look_that_gets_no_answer_is_made_again(
    mill: MakeMill, answer: Unknown | Unavailable, reason: str
) -> None:
    shop, order = waiting(mill)
    console(shop).confirm(pending_reference(shop, order))
    console(shop).find = lambda call: answer  # type: ignore[method-assign]
    shop.make_due()
    shop.turn(impatient=False)
    assert where(shop, order) == (UNPAID, reason)
    del console(shop).find  # type: ignore[attr-defined]

    shop.turn()

    assert where(shop, order) == ("confirmed", None)


# --- Money that no machine moves ------------------------------------------------------------------


def test_an_unknown_method_of_invoice_terms_is_declined(mill: MakeMill) -> None:
    shop = mill(policy=Policy(gateway="manual")).stocked()

    order = shop.accept(method="pm_card_visa")
    shop.turn()

    assert where(shop, order) == ("rejected", "declined")


@in_both_chains
def test_goods_first_are_confirmed_with_the_invoice_open(mill: MakeMill, chain: str) -> None:
    shop = mill(policy=Policy(gateway="manual", chain=chain)).stocked()

    order = shop.accept(method="invoice")
    shop.turn()

    assert (where(shop, order), status(shop, order)) == (("confirmed", None), "authorized")
    assert findings(shop) == []


@in_both_chains
def test_money_first_waits_for_it(mill: MakeMill, chain: str) -> None:
    shop = mill(policy=Policy(gateway="manual", chain=chain)).stocked()

    order = shop.accept(method="prepaid")
    shop.turn(impatient=False)

    assert where(shop, order)[1] == "requires_action"


def test_every_gateway_a_policy_may_name_has_its_steps() -> None:
    callers = Callers({"manual": ManualGateway(), "sandbox": SandboxGateway(None)}, 2)

    made = steps(callers, None)  # type: ignore[arg-type]

    assert {"pay", "undo_pay"} <= made.keys()


def test_a_decline_is_final(mill: MakeMill) -> None:
    gateway = Gateway()
    gateway.refuses["authorize"] = Declined("card_declined")
    shop = mill(gateway=gateway).stocked()

    order = shop.accept()
    shop.turn()

    assert (where(shop, order), len(gateway.asked)) == (("rejected", "declined"), 1)
    assert stand(shop, order) == [("authorize", "failed", 2000), ("capture", "failed", 2000)]
