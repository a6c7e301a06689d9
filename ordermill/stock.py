"""ordermill stock: what is there, what is promised, and the ways to put it right."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from ordermill.imports import File, Rejects, RowMapping, Strict, progress_bar
from ordermill.output import AsJson, show
from ordermill.products import conclude
from ordermill.session import acting, actor, application
from ordermill.stock_reconciliation import hold, reconcile, release
from ordermill.stocktaking import adjust, count, low, reorder_point, show_levels, transfer
from pipeline.intake.files.levels import StockMapping, import_stock
from pipeline.intake.files.mapping import load
from pipeline.intake.schema import Country
from pipeline.inventory.allocation import ANYWHERE, Place
from pipeline.stocktaking import MOST_UNITS, require_product
from pipeline.storage import locations as places
from pipeline.storage import stock as storage

stock = typer.Typer(help="Units: what is there, what is promised.", no_args_is_help=True)
stock.command("show")(show_levels)
# -5 is no option
stock.command("adjust", context_settings={"ignore_unknown_options": True})(adjust)
stock.command("count")(count)
stock.command("transfer")(transfer)
stock.command("low")(low)
stock.command("reorder-point")(reorder_point)
stock.command("reconcile")(reconcile)
stock.command("hold")(hold)
stock.command("release")(release)
locations = typer.Typer(
    help="Locations: where units are, and which goes first.", no_args_is_help=True
)
stock.add_typer(locations, name="locations")


@stock.command("import")
def import_file(
    file: File,
    mapping: RowMapping = None,
    rejects: Rejects = None,
    strict: Strict = False,
    json: AsJson = False,
) -> None:
    """Post units that came in, corrections and counts: CSV with
    sku,location,quantity[,kind,reason,at], or JSON lines.

    The same file again is skipped, line by line. Orders that wait for stock have it first.
    """
    with application() as app, progress_bar("lines") as on_progress:
        columns = load(mapping, StockMapping) if mapping else None
        tally = import_stock(app.database, file, actor(), rejects, columns, on_progress)
    conclude(tally, rejects, strict, json)


_COUNTRY: TypeAdapter[str] = TypeAdapter(Country)


def _location(given: str) -> str:
    if not 0 < len(given) <= 32 or not given.isprintable():
        raise typer.BadParameter(f"{given!r}: expected 1 to 32 printable characters")
    return given


def _country(given: str) -> str:
    try:
        return given and _COUNTRY.validate_python(given)
    except ValidationError:
        raise typer.BadParameter(
            f"{given!r}: expected a country, by its ISO 3166-1 code or its name, such as DE"
        ) from None


def _countries(given: list[str] | None) -> list[str] | None:
    return [_country(each) for each in given] if given else None


@stock.command("safety")
def safety(
    sku: Annotated[str, typer.Argument(help="The SKU.")],
    location: Annotated[str, typer.Argument(help="Where the units are.", callback=_location)],
    units: Annotated[
        int, typer.Argument(help="How many are never promised.", min=0, max=MOST_UNITS)
    ],
) -> None:
    """Keep units from being promised to orders; what is promised already stays so.

    Fewer than before: orders that wait for the SKU have what is no longer kept.
    """
    detail = {"location": location, "units": units}
    with application() as app, acting(app, "stock.safety", sku, **detail) as act:
        require_product(act.tx, sku)
        storage.set_safety(act.tx, sku, location, units, actor())
        found = storage.levels(act.tx, sku)
    show(found, False, empty="")


@locations.command("ls")
def list_locations(json: AsJson = False) -> None:
    """List the locations that were set; any other has priority 100 and serves all."""
    with application() as app, app.database.snapshot() as tx:
        found = places.all_places(tx)
    show([_told(name, place) for name, place in found.items()], json, empty=_NO_LOCATION)


_NO_LOCATION = (
    "No location was set: all have priority 100. Set one: ordermill stock locations set NAME"
)


@locations.command("set")
def set_location(
    name: Annotated[str, typer.Argument(help="The location's name.", callback=_location)],
    country: Annotated[
        str, typer.Option(help="Where it is: a country, by code or name.", callback=_country)
    ] = "",
    priority: Annotated[
        int, typer.Option(help="The lowest goes first.", min=0)
    ] = ANYWHERE.priority,
    serves: Annotated[
        list[str] | None,
        typer.Option(
            help="A country it is meant for; repeat it. All without.", callback=_countries
        ),
    ] = None,
) -> None:
    """Describe a location, or replace what was said of it. What is not given has its default.

    ordermill stock locations set berlin --country DE --priority 10 --serves DE --serves AT
    """
    place = Place(country, priority, frozenset(serves) if serves else None)
    told = _told(name, place)
    with application() as app, acting(app, "location.set", name, **told) as act:
        places.put(act.tx, name, place)
    show([told], False, empty="")


def _told(name: str, place: Place) -> dict[str, object]:
    return {
        "location": name,
        "country": place.country or None,
        "priority": place.priority,
        "serves": "all" if place.serves is None else " ".join(sorted(place.serves)),
    }
