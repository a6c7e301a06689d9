"""What is done to one order: requeue, cancel, refund, capture. First a page that says what will
happen; then, if the order is still as it was shown, it happens."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline import operations
from pipeline.acts import Act
from pipeline.errors import InvalidInput
from pipeline.money import to_minor, to_text
from pipeline.payments.account import Account, Operation, fold
from pipeline.storage import orders, payments, views
from pipeline.storage.database import Tx
from web.console.asking import ask, back, do_now, kept, seen, units_of_lines, with_version
from web.console.guard import Caller, Number, Operator
from web.console.signing import confirm, is_confirmed

router = APIRouter(prefix="/orders/{order_id}")

REQUEUE = "It goes back to work where it was held."
APPROVES = "A hold rule held it: from now on hold rules don't apply to it."
CANCEL = (
    "Its cancellation is asked for, wherever it is. What was done for it is undone, in reverse."
)


@router.get("/requeue")
def ask_requeue(caller: Operator, order_id: Number) -> Response:
    found, version = with_version(caller, order_id)
    rules = found["reason"] in operations.HOLD_RULES
    says = [f"Order {order_id} is {found['status']}, {found['reason'] or 'for no reason'}."]
    says += [REQUEUE, *([APPROVES] if rules else [])]
    return ask(caller, order_id, f"Requeue order {order_id}", says, "Requeue", version=version)


@router.post("/requeue")
def requeue(caller: Operator, order_id: Number) -> Response:
    with caller.act("requeue", order_id) as act:
        seen(act.tx, caller, order_id)
        announcements = operations.requeue(act.tx, [order_id], caller.actor)
    caller.app.engine.announce(announcements)
    return back(caller, order_id, "It is back at work.")


@router.get("/cancel")
def ask_cancel(caller: Operator, order_id: Number) -> Response:
    return _ask_cancel(caller, order_id)


def _account(caller: Caller, order_id: int) -> Account:
    with caller.read() as tx:
        return fold(payments.read(tx, [order_id])[order_id])


def _ask_cancel(caller: Caller, order_id: int, wrong: str = "") -> Response:
    found, version = with_version(caller, order_id)
    account = _account(caller, order_id)
    password = account.owed > 0 and not is_confirmed(caller)
    if found["shipments"]:
        return _ask_cancel_rest(caller, found, version, password=password, wrong=wrong)
    says = [f"Order {order_id} is {found['status']}.", CANCEL]
    if account.owed > 0:
        owed = to_text(account.owed, found["currency"])
        says.append(f"{owed} {found['currency']} go back to the customer.")
    elif account.authorization and not account.voided and not account.captured:
        says.append("The authorization of its payment is voided.")
    if units := sum(r["quantity"] for r in found["reservations"]):
        says.append(f"{units:,} reserved units are released; orders that wait have them first.")
    says.append("This can't be undone.")
    title = f"Cancel order {order_id}"
    return ask(
        caller, order_id, title, says, "Cancel the order", version=version, password=password,
        wrong=wrong,
    )  # fmt: skip


def _ask_cancel_rest(
    caller: Caller, order: dict[str, Any], version: int, *, password: bool, wrong: str
) -> Response:
    """Of an order of which part was shipped: what is tried says what it comes to."""
    order_id, currency = order["id"], order["currency"]

    def attempt(tx: Tx) -> dict[str, Any]:
        operations.cancel(tx, order_id, caller.actor)
        return views.one(tx, order_id)

    lines = caller.tried(attempt)["cancelled_lines"]
    units = ", ".join(f"{line['units']:,} × {line['sku']}" for line in lines)
    share = to_text(sum(line["amount"] for line in lines), currency)
    says = [
        f"{units} will never leave: they go back to stock, and to orders that wait for them.",
        f"Their share of the order is {share} {currency}. What was paid of it goes back.",
        "What was shipped stays sold, and the order confirmed. This can't be undone.",
    ]
    title = f"Cancel what is left of order {order_id}"
    return ask(
        caller, order_id, title, says, "Cancel what is left", version=version, password=password,
        wrong=wrong,
    )  # fmt: skip


@router.post("/cancel")
def cancel(caller: Operator, order_id: Number) -> Response:
    # Money goes back as it does by a refund. What is paid in between changes the order's version.
    if _account(caller, order_id).owed > 0 and (wrong := confirm(caller)):
        return _ask_cancel(caller, order_id, wrong)
    with caller.act("cancel", order_id) as act:
        seen(act.tx, caller, order_id)
        announcements = operations.cancel(act.tx, order_id, caller.actor)
    caller.app.engine.announce(announcements)
    return back(caller, order_id, "It is being cancelled; its timeline tells how far it is.")


# --- Money -----------------------------------------------------------------------------------------


def _refund(tx: Tx, order_id: int, actor: str, form: dict[str, str]) -> Operation:
    return operations.refund(
        tx, order_id, actor, amount=_amount(tx, order_id, form), lines=units_of_lines(form),
        shipping=form.get("shipping") == "yes", reason=form.get("reason") or None,
    )  # fmt: skip


def _capture(tx: Tx, order_id: int, actor: str, form: dict[str, str]) -> Operation:
    return operations.capture(tx, order_id, actor, _amount(tx, order_id, form))


_DO = {"refund": _refund, "capture": _capture}


def _amount(tx: Tx, order_id: int, form: dict[str, str]) -> int | None:
    given = form.get("amount", "").strip()
    return to_minor(given, orders.lock(tx, order_id).currency) if given else None


@router.get("/refund")
def ask_refund(caller: Operator, order_id: Number, request: Request) -> Response:
    """Without a choice, a form to make one; with one, what it comes to."""
    form = dict(request.query_params)
    if "choose" not in form:
        return _choose(caller, order_id, {})
    return _ask_money(caller, order_id, "refund", form)


def _choose(caller: Caller, order_id: int, form: dict[str, str], wrong: str = "") -> Response:
    with caller.read() as tx:
        found = views.one(tx, order_id)
        account = fold(payments.read(tx, [order_id])[order_id])
    status = 422 if wrong else 200
    return caller.page("refund.html", status, order=found, account=account, form=form, wrong=wrong)


@router.post("/refund")
def refund(caller: Operator, order_id: Number) -> Response:
    form = dict(caller.form)
    if wrong := confirm(caller):
        return _ask_money(caller, order_id, "refund", form, wrong)
    return _do_money(caller, order_id, "refund", form, "refunded")


@router.get("/capture")
def ask_capture(caller: Operator, order_id: Number, request: Request) -> Response:
    return _ask_money(caller, order_id, "capture", dict(request.query_params))


@router.post("/capture")
def capture(caller: Operator, order_id: Number) -> Response:
    return _do_money(caller, order_id, "capture", dict(caller.form), "captured")


def _ask_money(
    caller: Caller, order_id: int, kind: str, form: dict[str, str], wrong: str = ""
) -> Response:
    _, version = with_version(caller, order_id)
    try:
        would = caller.tried(lambda tx: _DO[kind](tx, order_id, caller.actor, form))
    except InvalidInput as error:
        if kind == "refund":
            return _choose(caller, order_id, form, str(error))
        raise
    amount = f"{to_text(would.amount, would.currency)} {would.currency}"
    says = {
        "refund": [f"{amount} go back to the customer, by {would.gateway}.",
                   "This can't be undone.", "It doesn't touch stock, nor the order's status."],
        "capture": [f"{amount} are taken from the customer, by {would.gateway}.",
                    "An authorization has one capture: the rest of it is released."],
    }[kind]  # fmt: skip
    return ask(
        caller, order_id, f"{kind.capitalize()} {amount} of order {order_id}", says,
        f"{kind.capitalize()} {amount}", fields=kept(form), version=version, wrong=wrong,
        password=kind == "refund" and not is_confirmed(caller),
    )  # fmt: skip


def _do_money(
    caller: Caller, order_id: int, kind: str, form: dict[str, str], done: str
) -> Response:
    with caller.act(kind, order_id) as act:
        asked = _requested(act, caller, order_id, kind, form)
    says = do_now(caller, asked, done)
    return back(caller, order_id, says)


def _requested(
    act: Act, caller: Caller, order_id: int, kind: str, form: dict[str, str]
) -> Operation:
    seen(act.tx, caller, order_id)
    asked = _DO[kind](act.tx, order_id, caller.actor, form)
    act.detail |= asked.worth
    return asked
