"""ordermill orders requeue, cancel: orders by id, or all on hold that a filter finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ordermill.output import AsJson, console, errors, show, show_json
from ordermill.selecting import asked_for, by_filter
from ordermill.session import acting, actor, application, of_orders
from pipeline import operations
from pipeline.bulk import Errand
from pipeline.decisions import Decision
from pipeline.errors import InvalidInput
from pipeline.storage.selection import Found, Selection, find
from pipeline.typed import LARGEST

All = Annotated[bool, typer.Option("--all", help="All orders on hold.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show how many, and a few.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
Rate = Annotated[
    float | None,
    typer.Option(metavar="N", help="No more than N orders a second become due; default all."),
]


@by_filter
def requeue(
    selection: Selection,
    order_ids: Annotated[
        list[int] | None, typer.Argument(max=LARGEST, help="Orders that are on hold.")
    ] = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    rate: Rate = None,
    json: AsJson = False,
) -> None:
    """Put orders on hold back to work where they were held. A hold rule that held one passes it now.

    By id: all of them or, on an error, none. By filter: all on hold that match, in transactions of
    at most 1,000; what somebody else changes meanwhile is left alone, and counted.
    """
    if not is_by_filter(bool(order_ids), selection, everything, dry_run or yes or rate is not None):
        with application() as app:
            with acting(app, "requeue", **of_orders(order_ids or [])) as act:
                announcements = operations.requeue(act.tx, order_ids or [], actor())
            app.engine.announce(announcements)
        moved = len(set(order_ids or []))
        conclude(json, f"{moved:,} put back to work.", moved)
        return
    move_all("requeue", "put back to work", selection, dry_run, yes, rate, json)


@by_filter
def cancel(
    selection: Selection,
    order_id: Annotated[
        int | None, typer.Argument(max=LARGEST, help="An order's id, as `orders ls` shows it.")
    ] = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    rate: Rate = None,
    json: AsJson = False,
) -> None:
    """Cancel an order wherever it is. What was done for it is undone: refund, units given back.

    By filter: all that are on hold and match, and no others, in transactions of at most 1,000.
    """
    given = order_id is not None
    if not is_by_filter(given, selection, everything, dry_run or yes or rate is not None):
        with application() as app:
            with acting(app, "cancel", order_id) as act:
                announcements = operations.cancel(act.tx, order_id or 0, actor())
            app.engine.announce(announcements)
        told = f"Order {order_id} is being cancelled; `ordermill orders show {order_id}` tells."
        conclude(json, told, 1)
        return
    move_all("cancel", "cancelled, or being so", selection, dry_run, yes, rate, json)


def is_by_filter(by_id: bool, selection: Selection, everything: bool, has_manner: bool) -> bool:
    """Whether a filter is meant; InvalidInput if it can't be told which orders are."""
    filtered = not selection.is_everything
    if by_id + filtered + everything != 1:
        raise InvalidInput("name orders by id, or by a filter such as --reason, or give --all")
    if by_id and has_manner:
        raise InvalidInput("--dry-run, --yes and --rate go with a filter, not with ids")
    return not by_id


def move_all(
    act: str,
    done: str,
    selection: Selection,
    dry_run: bool,
    yes: bool,
    rate: float | None,
    json: bool,
    decision: Decision | None = None,
) -> None:
    """Do it to all on hold that match: counted first, and asked."""
    if rate is not None and rate <= 0:
        raise InvalidInput(f"--rate: got {rate:g}, expected more than 0 orders a second")
    with application() as app:
        with app.database.snapshot() as tx:
            found = find(tx, selection)
        if dry_run or not json:
            _tell(found, json)
        if dry_run or not (found.orders or json):
            return
        if found.orders and not yes:
            typer.confirm(f"{act.capitalize()} {found.orders:,} orders?", abort=True, err=True)
        with app.database.transaction() as tx:
            given = {**asked_for(selection), **({"rate": rate} if rate else {})}
            errand = Errand.begun(tx, act, found, actor(), given, decision)
        with progressing(act, found.orders) as on_progress:
            tally = errand.run(
                app.database, actor(), app.engine.announce,
                rate=rate, progress=lambda tally: on_progress(tally.moved),
            )  # fmt: skip
    conclude(json, f"{tally.moved:,} {done}.", tally.moved, tally.skipped)


def _tell(found: Found, json: bool) -> None:
    if json:
        show_json({"orders": found.orders, "groups": found.groups, "examples": found.examples})
    elif found.orders:
        show(found.groups, False, empty="")
        console.print(f"\n{found.orders:,} orders on hold match, among them:")
        show(found.examples, False, empty="")
    else:
        console.print("No order on hold matches.")


def conclude(json: bool, told: str, moved: int, skipped: int = 0) -> None:
    if json:
        show_json({"moved": moved, "skipped": skipped})
        return
    console.print(told, markup=False)
    if skipped:
        console.print(f"{skipped:,} skipped: somebody else had changed them meanwhile.")


@contextmanager
def progressing(act: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, to be told how many orders are done."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(act, total=total)
        try:
            yield lambda done: bar.update(task, completed=done)
        except KeyboardInterrupt:
            errors.print("Interrupted. What was done stays; run the same command for the rest.")
            raise typer.Exit(130) from None
