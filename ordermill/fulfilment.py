"""ordermill orders fulfil, return: what leaves for customers, and what comes back."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from ordermill.after_sale import do_now, tell, units_of_lines
from ordermill.imports import Rejects, Strict, progress_bar
from ordermill.output import AsJson, console
from ordermill.products import conclude
from ordermill.session import acting, actor, application
from pipeline import fulfilment
from pipeline.errors import InvalidInput
from pipeline.fulfilment import Duplicate, Shipped
from pipeline.intake.files.shipments import import_shipments
from pipeline.inventory.shipping import Return, Shipment
from pipeline.typed import LARGEST

Lines = Annotated[
    list[str] | None,
    typer.Option("--line", metavar="N=UNITS", help="So many units of a line, counted from 1."),
]
Reference = Annotated[
    str | None, typer.Option(help="Names it within its order: the same again is done once.")
]


def fulfil(
    order_id: Annotated[
        int | None, typer.Argument(max=LARGEST, help="An order's id, as `orders ls` shows it.")
    ] = None,
    line: Lines = None,
    location: Annotated[
        str | None, typer.Option(help="Only what is reserved there; all without.")
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="Who takes it.")] = None,
    tracking: Annotated[str | None, typer.Option(help="The carrier's number for it.")] = None,
    reference: Reference = None,
    capture: Annotated[
        bool, typer.Option("--capture", help="Take the money that is due, if not yet taken.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Shipments of many orders: CSV or JSON lines (docs/fulfilment.md).",
        ),
    ] = None,
    rejects: Rejects = None,
    strict: Strict = False,
    json: AsJson = False,
) -> None:
    """Ship an order: units of lines, or all that is left. The customer is told.

    Without --reference the tracking number is the reference. With --file the shipments of a carrier
    or a warehouse are taken in: one verdict a line, and the same file again changes nothing.
    """
    given = any(x is not None for x in (line, location, carrier, tracking, reference))
    if (file is None) == (order_id is None) or (file is not None and given):
        raise InvalidInput("name one order by its id, or give --file with nothing about one order")
    if file is not None:
        with application() as app, progress_bar("shipments") as on_progress:
            tally = import_shipments(
                app.database, file, actor(), rejects, on_progress, capture=capture
            )
        conclude(tally, rejects, strict, json)
    shipment = Shipment(
        order_id or 0,
        reference or tracking or uuid.uuid4().hex,
        units_of_lines(line) if line else None,
        location,
        carrier,
        tracking,
        capture,
    )
    _ship(shipment, reference)


def _ship(shipment: Shipment, given: str | None) -> None:
    """`given`: the reference, if it isn't the tracking number, which erasure forgets."""
    number = shipment.order_id
    with application() as app:
        with acting(app, "fulfil", number, reference=given) as act:
            verdict = fulfilment.ship_one(act.tx, shipment, actor())
            act.detail["changed"] = not isinstance(verdict, Duplicate)
            if not isinstance(verdict, Duplicate):
                act.detail["units"] = _units(verdict)
        if isinstance(verdict, Duplicate):
            console.print(f"Order {number}: {shipment.reference} was shipped before.", markup=False)
            return
        console.print(f"Order {number}: shipped {_units(verdict)}.", markup=False)
        done = do_now(app, verdict.capture) if verdict.capture else None
    if done:
        tell(done, "capture", "captured")


def return_units(
    order_id: Annotated[
        int, typer.Argument(max=LARGEST, help="An order's id, as `orders ls` shows it.")
    ],
    line: Lines = None,
    restock: Annotated[
        str | None, typer.Option(metavar="LOCATION", help="Put the units into stock there.")
    ] = None,
    no_restock: Annotated[
        bool, typer.Option("--no-restock", help="The units are not to be sold again.")
    ] = False,
    refund: Annotated[
        bool, typer.Option("--refund", help="Give back what was paid for them.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="For the timeline; at most 64 signs.")] = None,
    reference: Reference = None,
) -> None:
    """Take back units that were shipped. Orders that wait for them have what is put into stock.
    Exit code 1 if the gateway refuses the refund."""
    if (restock is None) != no_restock:
        raise InvalidInput("say where the units go: --restock LOCATION, or --no-restock")
    back = Return(
        order_id, reference or uuid.uuid4().hex, units_of_lines(line or []), restock, reason
    )
    with application() as app:
        with acting(app, "return", order_id, reference=reference, restock=restock) as act:
            verdict = fulfilment.take_back(act.tx, back, actor(), refund=refund)
            act.detail |= {"lines": back.lines, "changed": not isinstance(verdict, Duplicate)}
            if not isinstance(verdict, Duplicate) and verdict.refund:
                act.detail["refund"] = verdict.refund.worth
        if isinstance(verdict, Duplicate):
            console.print(f"Order {order_id}: {back.reference} came back before.", markup=False)
            return
        where = f"put into stock at {restock}" if restock else "not put into stock"
        units = sum(back.lines.values())
        console.print(f"Order {order_id}: {units} units returned, {where}.", markup=False)
        done = do_now(app, verdict.refund) if verdict.refund else None
    if done:
        tell(done, "refund", "refunded")


def _units(shipped: Shipped) -> str:
    return ", ".join(f"{u.quantity} × {u.sku} from {u.location}" for u in shipped.units)
