"""ordermill stock: import, adjust, show."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.imports import File, Rejects, Strict, progress_bar
from ordermill.output import AsJson, show
from ordermill.products import conclude
from ordermill.session import actor, application
from pipeline.errors import InvalidInput
from pipeline.intake.files.levels import import_stock
from pipeline.storage import catalogue
from pipeline.storage import stock as storage
from pipeline.storage.stock import Movement

stock = typer.Typer(help="Units: what is there, what is promised.", no_args_is_help=True)


@stock.command("import")
def import_file(
    file: File, rejects: Rejects = None, strict: Strict = False, json: AsJson = False
) -> None:
    """Post units that came in: CSV with sku,location,quantity[,kind,reason], or JSON lines.

    The same file again is skipped, line by line. Orders that wait for stock are woken.
    """
    with application() as app, progress_bar("lines") as on_progress:
        tally = import_stock(app.database, file, actor(), rejects, on_progress)
    conclude(tally, rejects, strict, json)


Location = Annotated[str, typer.Option(help="Where the units are.")]


@stock.command("show")
def show_levels(
    sku: Annotated[str | None, typer.Argument(help="One SKU; all without it.")] = None,
    json: AsJson = False,
) -> None:
    """Show units on hand, reserved and available, by SKU and location."""
    with application() as app, app.database.snapshot() as tx:
        found = storage.levels(tx, sku)
    show(found, json, empty="No stock. Bring some in: ordermill stock import FILE")


@stock.command("adjust", context_settings={"ignore_unknown_options": True})  # -5 is no option
def adjust(
    sku: Annotated[str, typer.Argument(help="The SKU.")],
    units: Annotated[int, typer.Argument(help="How many more, or (negative) fewer.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the ledger.")],
    location: Location = "main",
) -> None:
    """Correct what is on hand, with a reason. Orders that wait for the SKU are woken."""
    with application() as app, app.database.transaction() as tx:
        if sku not in catalogue.products_by_sku(tx, [sku]):
            raise InvalidInput(f"there is no product {sku!r}; `ordermill products import` makes it")
        movement = Movement(sku, location, "adjustment", units, reason)
        if storage.post(tx, [movement], actor()):
            raise InvalidInput(
                f"{units} units of {sku} can't be taken from {location}: "
                "fewer would be left than are promised to orders"
            )
        found = storage.levels(tx, sku)
    show(found, False, empty="")
