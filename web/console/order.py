"""One order: why it is where it is, what it costs, what became of it, what can be done."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.hold_reasons import hold_of
from pipeline.order import SETTLED, Status
from pipeline.payments.account import fold
from pipeline.payments.gateways import moves_money
from pipeline.pricing.explanation import explain, named
from pipeline.storage import dispatches, payments, views
from web.console.guard import Number, Viewer

router = APIRouter()


@router.get("/orders/{order_id}")
def order(caller: Viewer, order_id: Number) -> Response:
    with caller.read() as tx:
        found = views.one(tx, order_id)
        account = fold(payments.read(tx, [order_id])[order_id])
        is_settled = Status(found["status"]) in SETTLED
        waits_in = None if is_settled else dispatches.holding(tx, order_id)
    views.tell_wait(found, waits_in)
    is_held = found["status"] == Status.ON_HOLD
    hold = hold_of(order_id, found["reason"], found["events"]) if is_held else None
    quote = found["quote"]
    return caller.page(
        "order.html",
        order=found,
        account=account,
        hold=hold,
        dispatch=waits_in,
        steps=explain(quote["steps"], found["currency"]) if quote else [],
        rules=named(quote["rules"], quote["rules_version"]) if quote else "",
        total=_total_by_hold(hold, found["currency"]),
        can=_can(found, hold, account),
    )


def _total_by_hold(hold: dict[str, Any] | None, currency: str) -> str:
    """An order that was held over its price has no quote yet: what held it says what it came to."""
    total = hold["detail"].get("total") if hold else None
    return f"{total} {currency}" if total else "–"


def _can(order: dict[str, Any], hold: dict[str, Any] | None, account: Any) -> dict[str, str]:
    """The actions that make sense now, by what they are called. Each page says the rest."""
    status, made = Status(order["status"]), account.authorization
    by_hand = made is not None and not moves_money(made.gateway)
    can: dict[str, str] = {}
    if status is Status.ON_HOLD:
        can |= {"decide": "Decide"} if hold and hold["decisions"] else {}
        can["requeue"] = "Requeue"
    if made is not None and not by_hand and not account.captured and not account.voided:
        can["capture"] = "Capture"
    if status is Status.CONFIRMED and account.refundable and not by_hand:
        can["refund"] = "Refund"
    if status is Status.CONFIRMED and order["reservations"]:
        can["fulfil"] = "Fulfil"
    if status is Status.CONFIRMED and _outside(order):
        can["return"] = "Return"
    is_over = status in (Status.REJECTED, Status.CANCELLED, Status.CANCELLING)
    if not is_over and order["fulfilment_status"] != "fulfilled":
        can["cancel"] = "Cancel"
    return can


def _outside(order: dict[str, Any]) -> int:
    """Units that were shipped and haven't come back."""

    def units(kind: str) -> int:
        return sum(int(line["units"]) for each in order[kind] for line in each["lines"])

    return units("shipments") - units("returns")
