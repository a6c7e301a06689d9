"""ordermill orders decide: what no stage can know of an order on hold, a person says."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ordermill.held import All, DryRun, Rate, Yes, conclude, is_by_filter, move_all
from ordermill.output import AsJson
from ordermill.selecting import by_filter
from ordermill.session import acting, actor, application, of_orders
from pipeline import operations
from pipeline.bulk import answered
from pipeline.decisions import Decision, read_decision
from pipeline.errors import InvalidInput
from pipeline.storage.selection import Selection
from pipeline.typed import LARGEST


@by_filter
def decide(
    selection: Selection,
    order_ids: Annotated[
        list[int] | None, typer.Argument(max=LARGEST, help="Orders that are on hold.")
    ] = None,
    charge: Annotated[
        str | None, typer.Option(metavar="shown", help="Charge the total that the order states.")
    ] = None,
    ship_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Correct a field of the address, as postal_code=10115; with nothing after the = "
            "it is taken away. Repeatable.",
        ),
    ] = None,
    tax_zone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name the tax zone of the rules it goes to.")
    ] = None,
    vat: Annotated[
        str | None,
        typer.Option(
            metavar="form|tax", help="Believe its VAT id by its form, or let it not count: tax."
        ),
    ] = None,
    wait_until: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="Let it wait for its stock until that day is over (UTC)."),
    ] = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    rate: Rate = None,
    json: AsJson = False,
) -> None:
    """Decide about orders on hold and put them back to work; give exactly one decision.

    By id: all of them or, on an error, none. By filter: of all on hold that match, those that are
    held for a reason that the decision answers, in transactions of at most 1,000.
    """
    decision = _decision(
        charge=charge, ship_to=_address(ship_to), tax_zone=tax_zone, vat=vat, wait_until=wait_until
    )
    manner = dry_run or yes or rate is not None
    if not is_by_filter(bool(order_ids), selection, everything, manner):
        with application() as app:
            told = {**of_orders(order_ids or []), **decision.told}
            with acting(app, "decide", **told) as act:
                announcements = operations.decide(act.tx, order_ids or [], decision, actor())
            app.engine.announce(announcements)
        moved = len(set(order_ids or []))
        conclude(json, f"{moved:,} decided, and put back to work.", moved)
        return
    move_all(
        "decide", "decided, and put back to work", answered(selection, decision),
        dry_run, yes, rate, json, decision,
    )  # fmt: skip


def _decision(**given: Any) -> Decision:
    return read_decision({kind: value for kind, value in given.items() if value is not None})


def _address(given: list[str] | None) -> dict[str, str | None] | None:
    if not given:
        return None
    fields: dict[str, str | None] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise InvalidInput(f"--ship-to: got {each[:32]!r}, expected FIELD=VALUE")
        fields[name.strip()] = value.strip() or None
    return fields
