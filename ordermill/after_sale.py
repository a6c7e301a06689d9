"""Money after the sale: refunds, captures, and what people record of money that no machine moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated

import typer

from ordermill.output import console, errors
from ordermill.session import acting, actor, application
from pipeline import operations
from pipeline.assembly import Application
from pipeline.errors import InvalidInput
from pipeline.money import to_minor, to_text
from pipeline.payments import tasks
from pipeline.payments.account import Operation
from pipeline.storage import orders
from pipeline.storage.database import Tx
from pipeline.typed import LARGEST, is_digits

OrderId = Annotated[
    int, typer.Argument(max=LARGEST, help="An order's id, as `orders ls` shows it.")
]
Amount = Annotated[str | None, typer.Option(help="In the order's currency, such as 5.00.")]
Reference = Annotated[str, typer.Option(help="The bank's name for the transfer.")]


def refund(
    order_id: OrderId,
    amount: Amount = None,
    line: Annotated[
        list[str] | None,
        typer.Option(metavar="N=UNITS", help="So many units of a line; lines count from 1."),
    ] = None,
    shipping: Annotated[bool, typer.Option("--shipping", help="What shipping cost.")] = False,
    reason: Annotated[str | None, typer.Option(help="For the timeline; at most 64 signs.")] = None,
) -> None:
    """Refund a confirmed order: an amount, lines, shipping, or all that is left. Exit code 1 if the
    gateway refuses."""
    lines = units_of_lines(line or [])
    with application() as app:
        with acting(app, "refund", order_id) as act:
            operation = operations.refund(
                act.tx,
                order_id,
                actor(),
                amount=_minor(act.tx, order_id, amount),
                lines=lines,
                shipping=shipping,
                reason=reason,
            )
            act.detail |= operation.worth
            made_of = tasks.told(operation, tasks.splits(act.tx, [operation]))
        done = do_now(app, operation)
    tell(done, "refund", f"refunded{_parts(made_of)}")


def _parts(told: Mapping[str, str]) -> str:
    """What a refund is made of, where there is tax in it."""
    if "tax" not in told or not Decimal(told["tax"]):
        return ""
    return f" (net {told['net']}, tax {told['tax']})"


def capture(
    order_id: OrderId,
    amount: Amount = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Record money that came by hand, under the bank's name for it."),
    ] = None,
) -> None:
    """Take what an order has authorized, all of it or an amount; the rest is released. Exit code 1
    if the gateway refuses."""
    with application() as app:
        if reference is not None:
            with acting(app, "record-payment", order_id, amount=amount, reference=reference) as act:
                minor = _minor(act.tx, order_id, amount)
                announcements = operations.record_payment(
                    act.tx, order_id, actor(), reference, minor
                )
            app.engine.announce(announcements)
            console.print(f"Order {order_id}: the payment is recorded.")
            return
        with acting(app, "capture", order_id) as act:
            minor = _minor(act.tx, order_id, amount)
            operation = operations.capture(act.tx, order_id, actor(), minor)
            act.detail |= operation.worth
        done = do_now(app, operation)
    tell(done, "capture", "captured")


def record_refund(order_id: OrderId, reference: Reference, amount: Amount = None) -> None:
    """Record that an order on invoice terms was paid back. If its cancellation waited for that, it
    goes on."""
    with application() as app:
        with acting(app, "record-refund", order_id, amount=amount, reference=reference) as act:
            minor = _minor(act.tx, order_id, amount)
            announcements = operations.record_refund(act.tx, order_id, actor(), reference, minor)
        app.engine.announce(announcements)
    console.print(f"Order {order_id}: the refund is recorded.")


def units_of_lines(given: Iterable[str]) -> dict[int, int]:
    """Units by line number, of N=UNITS; each line once."""
    pairs = [_line(each) for each in given]
    if len(dict(pairs)) < len(pairs):
        raise InvalidInput("--line: expected each line once, such as --line 1=2")
    return dict(pairs)


def _line(given: str) -> tuple[int, int]:
    number, separator, units = given.partition("=")
    if not separator or not is_digits(number) or not is_digits(units):
        raise InvalidInput(f"--line {given!r} is not N=UNITS, such as 2=1")
    return int(number), int(units)


def _minor(tx: Tx, order_id: int, amount: str | None) -> int | None:
    row = orders.lock(tx, order_id)
    return None if amount is None else to_minor(amount, row.currency)


def do_now(app: Application, operation: Operation) -> Operation:
    """Do it now; as it stands afterwards. Whatever isn't done, the job will do."""
    done = app.payment_tasks.run([(operation.order_id, operation.key)])
    return done[-1] if done else operation


def tell(operation: Operation, name: str, done: str) -> None:
    """Say what became of it; exit code 1 if it failed."""
    amount = f"{to_text(operation.amount, operation.currency)} {operation.currency}"
    if operation.state == "succeeded":
        console.print(f"Order {operation.order_id}: {amount} {done}.")
    elif operation.state == "failed":
        errors.print(
            f"order {operation.order_id}: the {name} of {amount} failed: {operation.code}",
            markup=False,
        )
        raise typer.Exit(1)
    else:
        console.print(
            f"Order {operation.order_id}: the {name} of {amount} is under way; "
            f"`ordermill orders show {operation.order_id}` tells."
        )
