"""ordermill orders: list, show, cancel, requeue, refund, capture."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ordermill.after_sale import OrderId, capture, refund
from ordermill.held import cancel, requeue
from ordermill.output import AsJson, console, show, show_json
from ordermill.selecting import (
    Email,
    ExternalId,
    FromSource,
    OlderThan,
    Reason,
    Sku,
    Stage,
    seconds,
)
from ordermill.session import application
from pipeline.hold_reasons import hold_of
from pipeline.money import to_text
from pipeline.order import Status
from pipeline.pricing.explanation import explain, named
from pipeline.storage import views
from pipeline.storage.selection import Selection

orders = typer.Typer(help="Look at orders, and put right what is stuck.", no_args_is_help=True)
orders.command("refund")(refund)
orders.command("capture")(capture)
orders.command("cancel")(cancel)
orders.command("requeue")(requeue)


@orders.command("ls")
def ls(
    status: Annotated[Status | None, typer.Option(help="Only orders with this status.")] = None,
    reason: Reason = None,
    stage: Stage = None,
    source: FromSource = None,
    external_id: ExternalId = None,
    older_than: OlderThan = None,
    sku: Sku = None,
    email: Email = None,
    before: Annotated[
        int | None, typer.Option(help="Continue an earlier page: only ids below.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: AsJson = False,
) -> None:
    """List orders, newest first.

    The ids are walked down until the page is full, so what is rare takes time among millions.
    """
    selection = Selection(
        status, reason, stage, source, external_id, seconds(older_than), sku, email
    )
    with application() as app, app.database.snapshot() as tx:
        found = views.page(tx, selection, before=before, most=limit)
    show([_amounts(row) for row in found], json, empty="No order matches.")


@orders.command("show")
def show_one(
    order_id: OrderId,
    pricing: Annotated[
        bool, typer.Option("--pricing", help="And how its price came about, step by step.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show everything about one order: lines, money, stock, notifications, timeline."""
    with application() as app, app.database.snapshot() as tx:
        order = views.one(tx, order_id)
    is_held = order["status"] == Status.ON_HOLD
    hold = hold_of(order_id, order["reason"], order["events"]) if is_held else None
    if json:
        show_json({**order, "hold": hold})
        return
    currency = order["currency"]
    told = ("id", "source", "external_id", "status", "reason", "stage", "payment_status")
    summary = {k: order[k] for k in told} | {"currency": currency, "total": _total(order, hold)}
    show([summary], False, empty="")
    if hold:
        _tell_hold(order_id, hold)
    quote = order["quote"]
    for title, rows in (
        ("Lines", [_line(x, currency) for x in order["lines"]]),
        ("Shipping", [_shipping(quote, currency)] if quote and quote["shipping_method"] else []),
        (f"Pricing by {_rules(quote)}", explain(quote["steps"], currency) if pricing and quote else []),
        ("Payments", [_money(x, currency, "amount") for x in order["payments"]]),
        ("Reservations", order["reservations"]),
        ("Notifications", order["notifications"]),
        ("Timeline", order["events"]),
    ):  # fmt: skip
        if rows:
            console.print(f"\n[bold]{title}[/bold]")
            show(rows, False, empty="")


def _total(order: dict[str, Any], hold: dict[str, Any] | None) -> str | None:
    """What it costs, as text. An order that was held over its price has no quote yet: the event that
    held it says what it came to."""
    if order["total"] is not None:
        return to_text(order["total"], order["currency"])
    return hold["detail"].get("total") if hold else None


def _tell_hold(order_id: int, hold: dict[str, Any]) -> None:
    detail = ", ".join(f"{k}: {v}" for k, v in hold["detail"].items())
    console.print(
        f"\nOn hold: {hold['means']}{f' ({detail})' if detail else ''}.\n"
        f"What to do: {hold['do']}.\n"
        f"  {hold['command']}\n"
        f"Or undo what was done for it: ordermill orders cancel {order_id}",
        markup=False,
    )


def _amounts(row: dict[str, Any]) -> dict[str, Any]:
    total = None if row["total"] is None else to_text(row["total"], row["currency"])
    return {**row, "total": total}


def _line(line: dict[str, Any], currency: str) -> dict[str, Any]:
    order = (
        "line_no",
        "sku",
        "quantity",
        "unit_price",
        "discount",
        "tax_rate",
        "net",
        "tax",
        "gross",
    )
    amounts = ("unit_price", "discount", "net", "tax", "gross")
    return _money({name: line[name] for name in order}, currency, *amounts)


def _shipping(quote: dict[str, Any], currency: str) -> dict[str, Any]:
    net, tax = quote["shipping_net"], quote["shipping_tax"]
    amounts = {
        "price": quote["shipping_price"], "discount": quote["shipping_discount"],
        "net": net, "tax": tax, "gross": net + tax,
    }  # fmt: skip
    return {"method": quote["shipping_method"], **_money(amounts, currency, *amounts)}


def _rules(quote: dict[str, Any] | None) -> str:
    return named(quote["rules"], quote["rules_version"]) if quote else ""


def _money(row: dict[str, Any], currency: str, *names: str) -> dict[str, Any]:
    return {k: to_text(v, currency) if k in names else v for k, v in row.items()}
