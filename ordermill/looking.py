"""ordermill orders ls, show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from ordermill.output import AsJson, console, one_of, show, show_json
from ordermill.selecting import ExternalId, FromSource, by_filter
from ordermill.session import reading
from pipeline.errors import InvalidInput, UnknownOrder
from pipeline.hold_reasons import hold_of
from pipeline.money import to_text
from pipeline.order import SETTLED, Status
from pipeline.pricing.explanation import explain, named
from pipeline.storage import dispatches, views
from pipeline.storage.database import Tx
from pipeline.storage.selection import Selection
from pipeline.typed import LARGEST

LISTED = (
    "id", "source", "external_id", "status", "reason", "stage", "currency", "total",
    "fulfilment_status", "accepted_at",
)  # fmt: skip


@by_filter
def ls(
    selection: Selection,
    status: Annotated[Status | None, typer.Option(help="Only orders with this status.")] = None,
    fulfilment: Annotated[
        str | None,
        typer.Option(
            parser=one_of(("unfulfilled", "partial", "fulfilled")),
            metavar="STATUS",
            help="Only orders shipped so far: unfulfilled, partial, fulfilled.",
        ),
    ] = None,
    before: Annotated[
        int | None, typer.Option(max=LARGEST, help="Continue an earlier page: only ids below.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    archived: Annotated[
        bool, typer.Option("--archived", help="Those in the archive instead.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List orders, newest first; --archived those that have been moved into the archive.

    The ids are walked down until the page is full, so what is rare takes time among millions.
    """
    page = views.archived_page if archived else views.page
    selection = replace(selection, status=status, fulfilment=fulfilment)
    with reading() as tx:
        found = page(tx, selection, before=before, most=limit)
    elsewhere = "" if archived else " Orders that have long been over: --archived."
    columns = (*LISTED, "archived_at") if archived else LISTED
    show(
        [_amounts({name: row[name] for name in columns}) for row in found],
        json,
        empty=f"No order matches.{elsewhere}",
    )


def show_one(
    order_id: Annotated[
        int | None, typer.Argument(max=LARGEST, help="An order's id, as `orders ls` shows it.")
    ] = None,
    external_id: ExternalId = None,
    source: FromSource = None,
    pricing: Annotated[
        bool, typer.Option("--pricing", help="And how its price came about, step by step.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show everything about one order, be it archived: lines, money, stock, notifications,
    timeline. By id, or by --external-id."""
    with reading() as tx:
        order_id = _named(tx, order_id, external_id, source)
        order = views.one(tx, order_id)
        is_settled = Status(order["status"]) in SETTLED
        views.tell_wait(order, None if is_settled else dispatches.holding(tx, order_id))
    is_held = order["status"] == Status.ON_HOLD
    hold = hold_of(order_id, order["reason"], order["events"]) if is_held else None
    if json:
        show_json({**order, "hold": hold})
        return
    currency = order["currency"]
    told = (
        "id", "source", "external_id", "status", "reason", "stage", "payment_status",
        "fulfilment_status",
    )  # fmt: skip
    summary = {k: order[k] for k in told} | {"currency": currency, "total": _total(order, hold)}
    if (shown := order["document"].get("total")) is not None:
        summary["total_shown"] = to_text(shown, currency)
    if order["placed_at"]:
        summary["placed_at"] = order["placed_at"]
    show([summary], False, empty="")
    if order["archived_at"]:
        console.print(f"\nIn the archive since {order['archived_at']:%Y-%m-%d %H:%M}.")
    if order["decided"]:
        decided = ", ".join(f"{k}: {v}" for k, v in order["decided"].items())
        console.print(f"\nDecided by a person: {decided}.", markup=False)
    if order["vat_check"]:
        console.print(f"\n{_vat_check(order['vat_check'])}", markup=False)
    if hold:
        _tell_hold(order_id, hold)
    quote = order["quote"]
    for title, rows in (
        ("Lines", [_line(x, currency) for x in order["lines"]]),
        ("Shipping", [_shipping(quote, currency)] if quote and quote["shipping_method"] else []),
        (f"Pricing by {_rules(quote)}", explain(quote["steps"], currency) if pricing and quote else []),
        ("Payments", [_money(x, currency, "amount", "net", "tax") for x in order["payments"]]),
        ("Reservations", order["reservations"]),
        ("Waits for", order["waits_for"]),
        ("Shipments", _parcels(order["shipments"])),
        ("Returns", _parcels(order["returns"])),
        ("Cancelled", [_money(x, currency, "amount", "unpaid") for x in order["cancelled_lines"]]),
        ("Notifications", order["notifications"]),
        ("Timeline", order["events"]),
    ):  # fmt: skip
        if rows:
            console.print(f"\n[bold]{title}[/bold]")
            show(rows, False, empty="")


def _named(tx: Tx, order_id: int | None, external_id: str | None, source: str | None) -> int:
    """The id of the order that is meant."""
    if (order_id is None) == (external_id is None):
        raise InvalidInput("name one order, by its id or by --external-id")
    if order_id is not None or external_id is None:
        return order_id or 0
    found = views.ids_of(tx, external_id)
    of_source = {s: i for s, i in found.items() if source in (None, s)}
    if not of_source:
        raise UnknownOrder(external_id)
    if len(of_source) > 1:
        raise InvalidInput(
            f"--source: expected one of {', '.join(sorted(found))}, which all have it"
        )
    return next(iter(of_source.values()))


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


def _vat_check(kept: dict[str, Any]) -> str:
    number = kept["consultation_number"]
    proof = f", consultation number {number}" if number else ""
    return f"VIES on {kept['vat_id'] or 'its VAT id'}: {kept['said']}, {kept['asked_at']}{proof}."


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
    known = [name for name in names if row[name] is not None]
    return {k: to_text(v, currency) if k in known else v for k, v in row.items()}


def _parcels(parcels: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Shipments or returns as rows to print."""
    return [
        {
            **parcel,
            "lines": ", ".join(
                f"{x['line_no']}={x['units']} {x['sku']}" + _from(x) for x in parcel["lines"]
            ),
        }
        for parcel in parcels
    ]


def _from(line: Mapping[str, Any]) -> str:
    return f" ({line['location']})" if "location" in line else ""
