"""What leaves for a customer, and what comes back: first a form to say what, then a page that says
what will happen; then, if the order is still as it was shown, it happens."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline import fulfilment
from pipeline.errors import InvalidInput
from pipeline.fulfilment import Duplicate, Returned, Shipped
from pipeline.inventory.shipping import Return, Shipment
from pipeline.money import to_text
from pipeline.payments.account import Operation, fold
from pipeline.storage import fulfilment as storage
from pipeline.storage import locations, payments, views
from pipeline.storage.database import Tx
from web.console.asking import ask, back, do_now, kept, seen, units_of_lines, with_version
from web.console.guard import Caller, Number, Operator
from web.console.signing import confirm, is_confirmed

router = APIRouter(prefix="/orders/{order_id}")

Done = TypeVar("Done", Shipped, Returned)

#: The choice of a location begins so: one may have any name, and "none" is none.
AT, NOWHERE = "at:", "none"


# --- What leaves ------------------------------------------------------------------------------------


def _new(done: Done | Duplicate) -> Done:
    if isinstance(done, Duplicate):
        raise InvalidInput("this was done before, under the same reference")
    return done


@router.get("/fulfil")
def ask_fulfil(caller: Operator, order_id: Number, request: Request) -> Response:
    """Without a choice, a form to make one; with one, what it comes to."""
    form = dict(request.query_params)
    if "choose" not in form:
        return _choose_shipment(caller, order_id, {})
    return _ask_fulfil(caller, order_id, form)


def _choose_shipment(
    caller: Caller, order_id: int, form: dict[str, str], wrong: str = ""
) -> Response:
    with caller.read() as tx:
        found = views.one(tx, order_id)
        account = fold(payments.read(tx, [order_id])[order_id])
    left = Counter[int]()
    for promised in found["reservations"]:
        left[promised["line_no"]] += promised["quantity"]
    places = sorted({promised["location"] for promised in found["reservations"]})
    return caller.page(
        "fulfil.html", 422 if wrong else 200, order=found, left=left, places=places,
        is_due=account.authorization is not None and not account.captured, form=form, wrong=wrong,
    )  # fmt: skip


def _ship(tx: Tx, order_id: int, actor: str, form: dict[str, str]) -> Shipped:
    """What was shipped. Without a tracking number it is a shipment of its own: the form is sent once."""
    tracking = form.get("tracking", "").strip() or None
    shipment = Shipment(
        order_id,
        tracking or uuid.uuid4().hex,
        units_of_lines(form) or None,
        form.get("location") or None,
        form.get("carrier", "").strip() or None,
        tracking,
        form.get("capture") == "yes",
    )
    return _new(fulfilment.ship_one(tx, shipment, actor))


@dataclass(frozen=True, slots=True)
class _Would:
    """What a shipment would do, and how the order would be afterwards."""

    shipped: Shipped
    after: dict[str, Any]


def _ask_fulfil(caller: Caller, order_id: int, form: dict[str, str]) -> Response:
    found, version = with_version(caller, order_id)

    def attempt(tx: Tx) -> _Would:
        return _Would(_ship(tx, order_id, caller.actor, form), views.one(tx, order_id))

    try:
        would = caller.tried(attempt)
    except InvalidInput as error:
        return _choose_shipment(caller, order_id, form, str(error))
    return ask(
        caller, order_id, f"Fulfil order {order_id}", _what_leaves(would, found), "Ship",
        fields=kept(form), version=version,
    )  # fmt: skip


def _what_leaves(would: _Would, before: dict[str, Any]) -> list[str]:
    shipped, after = would.shipped, would.after
    left = sum(promised["quantity"] for promised in after["reservations"])
    told = {x["channel"] for x in after["notifications"][len(before["notifications"]) :]}
    by = " ".join(filter(None, (shipped.shipment.carrier, shipped.shipment.tracking)))
    return [
        f"{_units(shipped)}"
        f"{f' with {by}' if by else ''}: the units leave stock and are promised no more.",
        f"Units left to ship after that: {left:,}."
        if left
        else "Nothing is left to ship after that.",
        "The customer is told by mail."
        if "email" in told
        else "The customer is not told: its source's policy wants no mail, or no address is known.",
        *([_money(shipped.capture, "taken from the customer")] if shipped.capture else []),
        "This can't be undone: what comes back is a return.",
    ]


def _units(shipped: Shipped) -> str:
    return ", ".join(f"{u.quantity:,} × {u.sku} from {u.location}" for u in shipped.units)


def _money(asked: Operation, done: str) -> str:
    amount = to_text(asked.amount, asked.currency)
    return f"{amount} {asked.currency} are {done}, by {asked.gateway}."


@router.post("/fulfil")
def fulfil(caller: Operator, order_id: Number) -> Response:
    with caller.act("fulfil", order_id) as act:
        seen(act.tx, caller, order_id)
        done = _ship(act.tx, order_id, caller.actor, dict(caller.form))
        act.detail |= {"reference": done.shipment.reference, "units": _units(done)}
    says = f"Shipped: {_units(done)}."
    if done.capture:
        says += f" {do_now(caller, done.capture, 'captured')}"
    return back(caller, order_id, says)


# --- What comes back --------------------------------------------------------------------------------


@router.get("/return")
def ask_return(caller: Operator, order_id: Number, request: Request) -> Response:
    """Without a choice, a form to make one; with one, what it comes to."""
    form = dict(request.query_params)
    if "choose" not in form:
        return _choose_return(caller, order_id, {})
    return _ask_return(caller, order_id, form)


def _choose_return(
    caller: Caller, order_id: int, form: dict[str, str], wrong: str = ""
) -> Response:
    with caller.read() as tx:
        found = views.one(tx, order_id)
        outside = storage.outside(tx, order_id)
        known = set(locations.all_places(tx))
    known |= {line["location"] for each in found["shipments"] for line in each["lines"]}
    return caller.page(
        "return.html", 422 if wrong else 200, order=found, outside=outside,
        places={AT + name: name for name in sorted(known)}, nowhere=NOWHERE, form=form, wrong=wrong,
    )  # fmt: skip


def _take_back(tx: Tx, order_id: int, actor: str, form: dict[str, str]) -> tuple[Return, Returned]:
    where = form.get("restock", "")
    if where != NOWHERE and not where.startswith(AT):
        raise InvalidInput("say where the units go: into stock at a location, or into none")
    restock = None if where == NOWHERE else where.removeprefix(AT)
    given = Return(
        order_id, uuid.uuid4().hex, units_of_lines(form), restock, form.get("reason") or None
    )
    return given, _new(fulfilment.take_back(tx, given, actor, refund=form.get("refund") == "yes"))


def _ask_return(
    caller: Caller, order_id: int, form: dict[str, str], wrong: str = ""
) -> Response:  # fmt: skip
    found, version = with_version(caller, order_id)
    try:
        given, would = caller.tried(lambda tx: _take_back(tx, order_id, caller.actor, form))
    except InvalidInput as error:
        return _choose_return(caller, order_id, form, str(error))
    says = [
        f"{_goods(given, found)} come back.",
        f"They are put into stock at {given.location}; orders that wait for them have them first."
        if given.location
        else "They are put into no stock.",
        _money(would.refund, "given back to the customer")
        if would.refund
        else "No money is given back with them.",
        "This can't be undone.",
    ]
    return ask(
        caller, order_id, f"Return units of order {order_id}", says, "Take back",
        fields=kept(form), version=version, wrong=wrong,
        password=would.refund is not None and not is_confirmed(caller),
    )  # fmt: skip


def _goods(given: Return, order: dict[str, Any]) -> str:
    skus = {line["line_no"]: line["sku"] for line in order["lines"]}
    return ", ".join(f"{n:,} × {skus[line]}" for line, n in sorted(given.lines.items()))


@router.post("/return")
def take_back(caller: Operator, order_id: Number) -> Response:
    form = dict(caller.form)
    if form.get("refund") == "yes" and (wrong := confirm(caller)):
        return _ask_return(caller, order_id, form, wrong)
    with caller.act("return", order_id) as act:
        seen(act.tx, caller, order_id)
        given, done = _take_back(act.tx, order_id, caller.actor, form)
        units = _goods(given, views.one(act.tx, order_id))
        act.detail |= {"units": units, "restock": given.location}
        if done.refund:
            act.detail["refund"] = to_text(done.refund.amount, done.refund.currency)
    says = f"Came back: {units}."
    if done.refund:
        says += f" {do_now(caller, done.refund, 'refunded')}"
    return back(caller, order_id, says)
