"""What actions on one order share: the page that says what will happen, the look whether the order is
still as it was shown, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response

from pipeline.errors import InvalidInput, OrdermillError
from pipeline.money import to_text
from pipeline.payments.account import Operation
from pipeline.storage import orders, views
from pipeline.storage.database import Tx
from pipeline.typed import is_digits
from web.console.guard import Caller, Changed


def ask(
    caller: Caller, order_id: int, title: str, says: list[str], button: str, *,
    fields: dict[str, str] | None = None, version: int, password: bool = False, wrong: str = "",
) -> Response:  # fmt: skip
    """The page that says what will happen; the title's first word is the action."""
    action = f"/console/orders/{order_id}/{title.split()[0].lower()}"
    return caller.page(
        "confirm.html", 403 if wrong else 200, title=title, says=says, button=button, action=action,
        back=f"/console/orders/{order_id}", fields={"version": version, **(fields or {})},
        password=password, wrong=wrong, danger=not title.startswith(("Requeue", "Fulfil")),
    )  # fmt: skip


def kept(form: Mapping[str, str]) -> dict[str, str]:
    """What was chosen, to be sent again with the confirmation."""
    return {k: v for k, v in form.items() if k not in ("password", "version", "choose") and v}


def seen(tx: Tx, caller: Caller, order_id: int) -> Any:
    """Its row, locked, if it is as the page had it: so that a form sent twice does it once."""
    row = orders.lock(tx, order_id)
    if str(row.version) != caller.form.get("version"):
        raise Changed(f"order {order_id}")
    return row


def with_version(caller: Caller, order_id: int) -> tuple[dict[str, Any], int]:
    """All of an order, and the version that its form is to have."""
    with caller.read() as tx:
        found = views.one(tx, order_id)
    return found, found["events"][-1]["seq"]


def units_of_lines(form: Mapping[str, str]) -> dict[int, int]:
    """Units by line number, of the fields line_1, line_2, …; those left empty are left out."""
    return {
        int(name.removeprefix("line_")): _units(name, units)
        for name, units in form.items()
        if name.startswith("line_")
        and is_digits(name[5:])
        and len(name) < 12
        and units not in ("", "0")
    }


def _units(name: str, given: str) -> int:
    if not is_digits(given) or len(given) > 9:
        raise InvalidInput(f"{name}: got {given[:32]!r}, expected a number of units")
    return int(given)


def do_now(caller: Caller, asked: Operation, done: str) -> str:
    """Do it now. Whatever isn't done, the job will do: it was asked for, and that is committed."""
    amount = f"{to_text(asked.amount, asked.currency)} {asked.currency}"
    try:
        ended = caller.app.payment_tasks.run([(asked.order_id, asked.key)])
    except OrdermillError:
        ended = []
    state = ended[-1].state if ended else asked.state
    if state == "succeeded":
        return f"{amount} {done}."
    if state == "failed":
        return f"The gateway refused: {amount} were not {done} ({ended[-1].code})."
    return f"{amount} are being {done}; the timeline tells when it is done."


def back(caller: Caller, order_id: int, says: str) -> Response:
    caller.console.pulse.forget()
    return caller.done(f"/console/orders/{order_id}", says)
