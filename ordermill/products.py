"""ordermill products: import, and derive from past orders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ordermill.imports import (
    File,
    Rejects,
    RowMapping,
    Strict,
    exit_code,
    progress_bar,
    tell_reasons,
)
from ordermill.output import AsJson, console, show_json
from ordermill.session import application
from pipeline.intake.files.derive import derive_catalogue
from pipeline.intake.files.mapping import load, load_mapping
from pipeline.intake.files.products import ProductMapping, import_products
from pipeline.intake.files.tally import Tally

products = typer.Typer(help="The catalogue.", no_args_is_help=True)


@products.command("import")
def import_file(
    file: File,
    mapping: RowMapping = None,
    rejects: Rejects = None,
    strict: Strict = False,
    json: AsJson = False,
) -> None:
    """Make or replace products: CSV with sku, name and more (docs/intake.md), or JSON lines.

    A product with several prices has a line for each.
    """
    with application() as app, progress_bar("products") as on_progress:
        columns = load(mapping, ProductMapping) if mapping else None
        tally = import_products(app.database, file, rejects, columns, on_progress)
    conclude(tally, rejects, strict, json)


@products.command("derive")
def derive(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Order files.")],
    products_out: Annotated[Path, typer.Option(help="Write the products here.")],
    stock_out: Annotated[Path, typer.Option(help="Write the stock here.")],
    mapping: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="For CSV: which column is which field."),
    ] = None,
) -> None:
    """Write a product file and a stock file from past orders: a shop to try them on.

    Every SKU that occurs, at the highest price seen, with the units that were sold.
    """
    columns = load_mapping(mapping) if mapping else None
    found = derive_catalogue(files, columns, products_out, stock_out)
    console.print(f"{len(found):,} products written to {products_out} and {stock_out}.")


def conclude(tally: Tally, rejects: Path | None, strict: bool, json: bool) -> None:
    """Tell what became of a file's lines, and exit."""
    if json:
        show_json(
            {
                "read": tally.read,
                "accepted": tally.accepted,
                "skipped": tally.skipped,
                "rejected": tally.rejected,
                "reasons": dict(tally.reasons),
            }
        )
    else:
        console.print(
            f"{tally.read:,} lines: {tally.accepted:,} accepted, {tally.skipped:,} skipped "
            f"(imported before), {tally.rejected:,} rejected."
        )
        tell_reasons(tally.reasons, rejects)
    raise typer.Exit(exit_code(tally.read, tally.rejected, strict=strict))
