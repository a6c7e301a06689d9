"""ordermill stock reconcile, hold, release: the books beside the shelves."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, cast

import typer

from ordermill.imports import Rejects
from ordermill.output import AsJson, console, errors, one_of, show, show_json
from ordermill.session import acting, actor, application, undertaking
from ordermill.stocktaking import Location, Sku
from pipeline.assembly import Application
from pipeline.errors import InvalidInput
from pipeline.intake.files.mapping import load
from pipeline.settings import Settings
from pipeline.stock_reconciliation.act import Plan, Policy
from pipeline.stock_reconciliation.configured import is_url, reconcile_configured
from pipeline.stock_reconciliation.counts import CountMapping
from pipeline.stock_reconciliation.download import download, name_of
from pipeline.stock_reconciliation.reconcile import Feed, Reconciled, feed_of
from pipeline.stock_reconciliation.reconcile import reconcile as run_reconcile
from pipeline.stock_reconciliation.report import (
    MOST_SHOWN,
    differences,
    page,
    summary,
    write_csv,
)
from pipeline.storage import catalogue
from pipeline.storage import stock as storage


def reconcile(
    feed: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="Counts: sku, location, units, counted_at."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="For CSV: which column is which field."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            parser=one_of(("report", "adjust", "hold")),
            metavar="report|adjust|hold",
            help="What to do about a count that differs; default as set.",
        ),
    ] = None,
    tolerance: Annotated[
        int | None, typer.Option(min=0, help="In units; default as set.", metavar="N")
    ] = None,
    rejects: Rejects = None,
    csv: Annotated[bool, typer.Option("--csv", help="All differences as CSV.")] = False,
    html: Annotated[bool, typer.Option("--html", help="A page to print or to send.")] = False,
    json: AsJson = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="Write to this file.")
    ] = None,
) -> None:
    """Compare the stock's books with themselves, and with counts as of their time.

    Without --feed the feed that is set is read, as the job does. The books are never corrected.
    Exit code 1 if there are differences, or counts that can't be read.
    """
    if csv + html + json > 1:
        raise InvalidInput("--csv, --html and --json exclude each other; give one")
    if rejects and not feed:
        raise InvalidInput("--rejects: expected --feed too; what is set writes beside its files")
    with application() as app:
        plan = _plan(app.settings, policy, tolerance)
        with undertaking(app, "stock.reconcile", feed, policy=plan.policy) as told:
            if feed is None:
                settings = app.settings.model_copy(update={"stock_mapping": mapping}) if mapping else app.settings  # fmt: skip
                found = reconcile_configured(app.database, settings, plan)
            else:
                with _given(feed, mapping or app.settings.stock_mapping, rejects) as given:
                    found = run_reconcile(app.database, plan, [given])
            told |= {"differences": found.total, "done": dict(found.done)}
        _tell(app, found, csv=csv, html=html, json=json, output=output)
    raise typer.Exit(0 if found.is_clean else 1)


def _plan(settings: Settings, policy: str | None, tolerance: int | None) -> Plan:
    plan = Plan(settings.stock_policy, settings.stock_tolerance, actor())
    if policy:
        plan = replace(plan, policy=cast(Policy, policy))
    return plan if tolerance is None else replace(plan, tolerance=tolerance)


@contextmanager
def _given(feed: str, mapping: Path | None, rejects: Path | None) -> Iterator[Feed]:
    columns = load(mapping, CountMapping) if mapping else None
    if not is_url(feed):
        yield feed_of(Path(feed), columns, rejects)
        return
    with tempfile.TemporaryDirectory() as folder:
        answer = download(feed, Path(folder))
        if answer is None:
            raise InvalidInput(f"{name_of(feed)} answered that nothing has changed, unasked")
        yield replace(feed_of(answer[0], columns, rejects), name=name_of(feed))


def _tell(
    app: Application, found: Reconciled, *, csv: bool, html: bool, json: bool, output: Path | None
) -> None:
    rows = differences(app.database, found)
    if csv or html:
        with _opened(output) as file:
            if csv:
                write_csv(rows, file)
            else:
                file.write(page(found, rows))
    elif json:
        told = {"read_at": found.read_at, **summary(found), "away": found.away,
                "found": list(islice(rows, MOST_SHOWN))}  # fmt: skip
        with _opened(output) as file:
            show_json(told, file)
    else:
        show(list(islice(rows, MOST_SHOWN)), False, empty="No differences.")
    errors.print(_sentence(found), markup=False)
    for feed in found.feeds:
        if feed.refused:
            errors.print(f"{feed.name} is refused: {feed.refused}", markup=False)
    if found.away:
        errors.print(f"The feed is away: {found.away}", markup=False)


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
        return
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise InvalidInput(f"{path} can't be written: {error.strerror}") from None


def _sentence(found: Reconciled) -> str:
    more = found.total - MOST_SHOWN
    rejected = sum(feed.tally.rejected for feed in found.feeds)
    return (
        f"{found.counts:,} counts, {rejected:,} refused; {found.total:,} differences "
        f"({found.new:,} new), {found.cleared:,} earlier ones cleared"
        + (f"; {more:,} are not shown, --csv has them all" if more > 0 else "")
    )


def hold(sku: Sku, location: Location = "main", json: AsJson = False) -> None:
    """Promise nothing more of a SKU at a location; what is promised already stays so.

    Orders that need it go on hold (sku_held), or wait where the product may be backordered.
    """
    _set_held(sku, location, True, json)


def release(sku: Sku, location: Location = "main", json: AsJson = False) -> None:
    """Promise it again; orders that wait for it have it first, at once.

    Those that went on hold for it go on with `orders requeue --reason sku_held --sku SKU`.
    """
    _set_held(sku, location, False, json)
    if not json:
        console.print(f"Orders on hold for it: ordermill orders requeue --reason sku_held --sku {sku}",
                      markup=False)  # fmt: skip


def _set_held(sku: str, location: str, held: bool, json: bool) -> None:
    action = "stock.hold" if held else "stock.release"
    with application() as app, acting(app, action, sku, location=location) as act:
        tx = act.tx
        if sku not in catalogue.products_by_sku(tx, [sku]):
            raise InvalidInput(f"there is no product {sku!r}; `ordermill products import` makes it")
        known = {level["location"] for level in storage.levels(tx, sku)}
        if location not in known:
            raise InvalidInput(
                f"--location: got {location!r}, expected one where {sku} is: {', '.join(map(str, known))}"
            )
        storage.set_held(tx, [(sku, location)], held, actor())
        found = storage.levels(tx, sku)
    show(found, json, empty="")
