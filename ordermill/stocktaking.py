"""ordermill stock show, adjust, count, transfer, low, reorder-point."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, console, show, show_json
from ordermill.session import acting, actor, application
from pipeline import stocktaking
from pipeline.errors import InvalidInput
from pipeline.inventory import movement
from pipeline.payments.window import moment
from pipeline.stocktaking import MOST_UNITS, Count
from pipeline.storage import catalogue, stock_ledger, waiting
from pipeline.storage import stock as storage

Sku = Annotated[str, typer.Argument(help="The SKU.")]
Location = Annotated[str, typer.Option(help="Where the units are.")]
Why = Annotated[str | None, typer.Option("--reason", help="Why; it stays in the ledger.")]


_BRING = "Bring some in: ordermill stock import FILE"
_NO_STOCK = f"No stock. {_BRING}"


def show_levels(
    sku: Annotated[str | None, typer.Argument(help="One SKU; all without it.")] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="And its movements, the newest last.")
    ] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"Of the ledger only these: {', '.join(movement.KINDS)}."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most so many movements, and orders.")
    ] = 20,
    json: AsJson = False,
) -> None:
    """Show units on hand, reserved and available, by SKU and location.

    Of one SKU also the orders that hold it (all reservations are read for that), and those that wait
    for it, the first first; with --ledger each movement with what was on hand and what was promised after it.
    """
    if (ledger or kind) and sku is None:
        raise InvalidInput("--ledger: expected one SKU")
    if unknown := set(kind or ()) - set(movement.KINDS):
        expected = ", ".join(movement.KINDS)
        raise InvalidInput(f"--kind: got {min(unknown)!r}, expected one of {expected}")
    with application() as app, app.database.snapshot() as tx:
        if sku is not None:
            stocktaking.require_product(tx, sku)
        found = storage.levels(tx, sku)
        held = stock_ledger.holders(tx, sku, limit) if sku else []
        waits = waiting.for_sku(tx, sku, limit) if sku else []
        moved = stock_ledger.ledger(tx, sku, limit, kind or ()) if sku and (ledger or kind) else []
    if json:
        one = {"levels": found, "reserved_by": held, "waited_for_by": waits} | (
            {"ledger": moved} if ledger or kind else {}
        )
        show_json(found if sku is None else one)
        return
    show(found, False, empty=_NO_STOCK if sku is None else f"No stock of {sku}. {_BRING}")
    for title, rows in (("Reserved by", held), ("Waited for by", waits), ("Ledger", moved)):
        if rows:
            console.print(f"\n[bold]{title}[/bold]")
            show(rows, False, empty="")


def adjust(
    sku: Sku,
    units: Annotated[int, typer.Argument(help="How many more, or (negative) fewer.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the ledger.")],
    location: Location = "main",
    json: AsJson = False,
) -> None:
    """Correct what is on hand, with a reason. Orders that wait for the SKU are woken."""
    detail = {"location": location, "units": units, "reason": reason}
    with application() as app, acting(app, "stock.adjust", sku, **detail) as act:
        stocktaking.adjust(act.tx, (sku, location), units, reason, actor())
        found = storage.levels(act.tx, sku)
    show(found, json, empty="")


def count(
    sku: Sku,
    units: Annotated[int, typer.Argument(min=0, help="How many were found.")],
    location: Location = "main",
    at: Annotated[
        str | None,
        typer.Option(help="When they were counted: a time (UTC, or with an offset); default now."),
    ] = None,
    reason: Why = None,
    json: AsJson = False,
) -> None:
    """Make what is on hand agree with a count, as of its time: what has moved since is no difference.

    The difference is written to the ledger, at that time; the same count again finds none.
    """
    counted = Count((sku, location), units, moment(at) if at else None, reason)
    detail = {"location": location, "units": units, "reason": reason}
    with application() as app, acting(app, "stock.count", sku, **detail) as act:
        difference = act.detail["change"] = stocktaking.count(act.tx, counted, actor())
        found = storage.levels(act.tx, sku)
    if json:
        show_json({"difference": difference, "levels": found})
        return
    books = units - difference
    console.print(
        f"{units} units of {sku} counted at {location}, {books} by the books: "
        + (f"{difference:+d} written." if difference else "no difference."),
        markup=False,
    )
    show(found, False, empty="")


def transfer(
    sku: Sku,
    units: Annotated[int, typer.Argument(min=1, help="How many.")],
    source: Annotated[str, typer.Option("--from", help="Where they are.")],
    target: Annotated[str, typer.Option("--to", help="Where they go.")],
    reason: Why = None,
    json: AsJson = False,
) -> None:
    """Take units from one location to another; what is promised to orders stays where it is."""
    detail = {"from": source, "to": target, "units": units, "reason": reason}
    with application() as app, acting(app, "stock.transfer", sku, **detail) as act:
        stocktaking.transfer(act.tx, sku, units, source, target, reason, actor())
        found = storage.levels(act.tx, sku)
    show(found, json, empty="")


def low(
    below: Annotated[
        int | None,
        typer.Option(min=1, help="Fewer than so many available; default their reorder points."),
    ] = None,
    json: AsJson = False,
) -> None:
    """List active products of which few units are available, over all locations, those without any
    stock among them. Exit code 1 if there are any."""
    with application() as app, app.database.snapshot() as tx:
        found = stock_ledger.low(tx, below)
    more = "more than its reorder point" if below is None else f"{below} units or more"
    show(found, json, empty=f"Of every active product, {more} are available.")
    raise typer.Exit(1 if found else 0)


def reorder_point(
    sku: Sku,
    units: Annotated[str, typer.Argument(metavar="N|none", help="So many, or fewer, are low.")],
) -> None:
    """Say when a product is low: operators are told, and `stock low` lists it. With `none`, never."""
    if units != "none" and not (units.isascii() and units.isdigit() and int(units) <= MOST_UNITS):
        raise InvalidInput(f"got {units!r}, expected 0 to {MOST_UNITS:,}, or none")
    point = None if units == "none" else int(units)
    with application() as app, acting(app, "stock.reorder-point", sku, units=point) as act:
        if not catalogue.set_reorder_point(act.tx, sku, point):
            raise InvalidInput(f"there is no product {sku!r}; `ordermill products import` makes it")
    console.print(f"{sku}: reorder point {units}", markup=False)
