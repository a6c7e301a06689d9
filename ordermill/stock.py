"""ordermill stock: what is there, what is promised, and the ways to put it right."""

from __future__ import annotations

import typer

from ordermill.imports import File, Rejects, Strict, progress_bar
from ordermill.output import AsJson
from ordermill.products import conclude
from ordermill.session import actor, application
from ordermill.stocktaking import adjust, count, low, show_levels, transfer
from pipeline.intake.files.levels import import_stock

stock = typer.Typer(help="Units: what is there, what is promised.", no_args_is_help=True)
stock.command("show")(show_levels)
# -5 is no option
stock.command("adjust", context_settings={"ignore_unknown_options": True})(adjust)
stock.command("count")(count)
stock.command("transfer")(transfer)
stock.command("low")(low)


@stock.command("import")
def import_file(
    file: File, rejects: Rejects = None, strict: Strict = False, json: AsJson = False
) -> None:
    """Post units that came in, corrections and counts: CSV with
    sku,location,quantity[,kind,reason,at], or JSON lines.

    The same file again is skipped, line by line. Orders that wait for stock are woken.
    """
    with application() as app, progress_bar("lines") as on_progress:
        tally = import_stock(app.database, file, actor(), rejects, on_progress)
    conclude(tally, rejects, strict, json)
