"""ordermill orders archive, restore, erase: what becomes of orders that have long been over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ordermill.held import progressing
from ordermill.output import AsJson, console, errors, show, show_json
from ordermill.selecting import FromSource, seconds
from ordermill.session import acting, actor, application, of_orders, undertaking
from pipeline import operations, retention
from pipeline.assembly import Application
from pipeline.errors import InvalidInput, UnknownOrder
from pipeline.retention import Pace
from pipeline.storage import archive as storage
from pipeline.storage import erasure
from pipeline.storage.erasure import Erased
from pipeline.typed import LARGEST

OrderIds = Annotated[
    list[int] | None, typer.Argument(max=LARGEST, help="Orders, as `orders ls` shows them.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show how many.")]


def archive(
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Over for so long: 90d. Default: as the sources' archive_after says.",
        ),
    ] = None,
    source: FromSource = None,
    dry_run: DryRun = False,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="No more than N orders a second; default: room is left for others."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Move orders that have long been over into the archive, in transactions of at most 1,000.

    Whatever happens to one of them later brings it back first. After Ctrl-C, run the same again.
    """
    if rate is not None and rate <= 0:
        raise InvalidInput(f"--rate: got {rate:g}, expected more than 0 orders a second")
    with application() as app:
        with app.database.snapshot() as tx:
            found = retention.due(
                tx, "archive_after", source=source, older_than=seconds(older_than)
            )
            counts = {each: storage.count(tx, each.source_id, each.cutoff) for each in found}
        moved = 0
        if not dry_run:
            with (
                undertaking(app, "archive", source, older_than=older_than) as told,
                progressing("archive", sum(counts.values())) as progress,
            ):
                moved = retention.archive_all(app.database, found, Pace(rate), progress)
                told["orders"] = moved
    rows = [{"source": each.source, "orders": orders} for each, orders in counts.items()]
    if json:
        show_json({"due": rows, "archived": moved})
        return
    show(rows, False, empty="No source has an archive_after; give --older-than.")
    if found and not dry_run:
        console.print(f"{moved:,} archived; `ordermill orders ls --archived` lists them.")


def restore(order_ids: OrderIds = None, json: AsJson = False) -> None:
    """Bring orders back from the archive, all of them or none."""
    if not order_ids:
        raise InvalidInput("name orders by id")
    with application() as app, acting(app, "restore", **of_orders(order_ids)) as act:
        operations.restore(act.tx, order_ids, actor())
    if json:
        show_json({"restored": sorted(set(order_ids))})
        return
    console.print(f"{len(set(order_ids)):,} out of the archive.")


def erase(
    order_ids: OrderIds = None,
    email: Annotated[
        str | None,
        typer.Option(help="All orders of this customer, and what was refused of them."),
    ] = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Forget who ordered: names, addresses, free texts. What was sold and paid stays.

    It can't be undone. Exit code 1 if an order is not settled: that one is left as it is.
    """
    if bool(order_ids) == bool(email):
        raise InvalidInput("name orders by id, or a customer by --email")
    with application() as app:
        with app.database.snapshot() as tx:
            wanted = erasure.orders_of(tx, email) if email else sorted(set(order_ids or []))
        if dry_run:
            done = retention.erase(app.database, wanted, app.settings.mails, actor(), dry_run=True)
        else:
            done = _erase(app, wanted, email)
    if done.unknown and not (done.erased or done.already or done.refused):
        raise UnknownOrder(done.unknown[0])
    told = {
        "erased": done.erased, "already": done.already, "refused": done.refused,
        "unknown": done.unknown,
    }  # fmt: skip
    if json:
        show_json({"dry_run": dry_run, **told})
    else:
        would = "would be " if dry_run else ""
        console.print(f"{len(done.erased):,} {would}erased, {len(done.already):,} were already.")
        for order_id in done.refused:
            errors.print(f"order {order_id} is not settled, and is left as it is")
        for order_id in done.unknown:
            errors.print(f"there is no order {order_id}")
    raise typer.Exit(1 if done.refused or done.unknown else 0)


def _erase(app: Application, wanted: Sequence[int], email: str | None) -> Erased:
    with undertaking(app, "erase", **of_orders(wanted)) as told:
        done = retention.erase(app.database, wanted, app.settings.mails, actor())
        if email:
            with app.database.transaction() as tx:
                erasure.erase_mentions(tx, [email])
        told |= {"erased": len(done.erased), "refused": done.refused, "unknown": done.unknown}
    return done
