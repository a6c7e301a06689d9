"""ordermill payments reconcile, settlement: our books beside the gateways'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from ordermill.output import AsJson, errors, show, show_json
from ordermill.session import application
from pipeline.assembly import Application
from pipeline.errors import InvalidInput
from pipeline.formulas import write_table
from pipeline.payments import settlement_report, window
from pipeline.payments.gateway import Gateway
from pipeline.payments.gateway_list import keeps_list
from pipeline.payments.reconcile import Difference, Reconciled, differences
from pipeline.payments.reconcile import reconcile as run_reconcile
from pipeline.payments.settlement import settle

#: Differences shown; `--csv` has them all.
MOST_SHOWN = 1_000

GatewayName = Annotated[
    str | None, typer.Option("--gateway", metavar="NAME", help="Only this one; default all.")
]
Csv = Annotated[Path | None, typer.Option("--csv", dir_okay=False, help="Write CSV to this file.")]


def reconcile(
    gateway: GatewayName = None,
    since: Annotated[
        str | None, typer.Option(help="A date or time (UTC); default two days ago.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="A date or time, not included; default now.")
    ] = None,
    under_way: Annotated[
        float, typer.Option(min=0, metavar="MINUTES", help="What is younger is not judged yet.")
    ] = 60.0,
    csv_file: Csv = None,
    json: AsJson = False,
) -> None:
    """Compare our payment operations with the gateways' own lists, both ways. Corrects nothing.

    Exit code 1 if there are differences.
    """
    now = datetime.now(UTC)
    begin = window.moment(since) if since else now - timedelta(days=2)
    end = window.moment(until) if until else now
    with application() as app:
        runs = [
            run_reconcile(app.database, one, begin, end, under_way=timedelta(minutes=under_way))
            for one in _chosen(app, gateway)
        ]
        if csv_file:
            _write(csv_file, _found(app, runs))
        shown = [asdict(difference) for difference in islice(_found(app, runs), MOST_SHOWN)]
    if json:
        show_json({"runs": [asdict(run) for run in runs], "differences": shown})
    else:
        show(shown, False, empty="No differences.")
        for run in runs:
            errors.print(_summary(run), markup=False)
    raise typer.Exit(0 if all(run.is_clean for run in runs) else 1)


def _chosen(app: Application, name: str | None) -> list[Gateway]:
    listing = {n: gateway for n, gateway in app.gateways.items() if keeps_list(gateway)}
    if name is None:
        return list(listing.values())
    if name not in listing:
        raise InvalidInput(
            f"there is no gateway {name!r} with a list of its own; there are {', '.join(listing)}"
        )
    return [listing[name]]


def _found(app: Application, runs: Iterable[Reconciled]) -> Iterator[Difference]:
    for run in runs:
        yield from differences(app.database, run)


def _write(path: Path, found: Iterable[Difference]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        write_table(file, list(Difference.__dataclass_fields__), map(asdict, found))


def _summary(run: Reconciled) -> str:
    more = run.total - MOST_SHOWN
    return (
        f"{run.gateway}, {run.since:%Y-%m-%d %H:%M} to {run.until:%Y-%m-%d %H:%M} UTC: "
        f"{run.operations:,} operations here, {run.lines:,} there, {run.total:,} differences"
        f" ({run.new:,} new), {run.cleared:,} earlier ones cleared"
        + (f"; {more:,} are not shown, --csv has them all" if more > 0 else "")
    )


def settlement(
    day: Annotated[str | None, typer.Option(help="One day; default yesterday.")] = None,
    since: Annotated[str | None, typer.Option(help="A date or time instead of a day.")] = None,
    until: Annotated[str | None, typer.Option(help="A date or time, not included.")] = None,
    timezone: Annotated[str, typer.Option(help="Whose days and times are meant.")] = "UTC",
    gateway: GatewayName = None,
    csv_file: Csv = None,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a page to this file.")
    ] = None,
    json: AsJson = False,
) -> None:
    """What moved in a day, by gateway and currency, beside what the gateway says of it.

    Exit code 1 if the two differ by more than what both know of at another time.
    """
    zone = window.zone(timezone)
    begin, end = _window(day, since, until, zone)
    with application() as app:
        if gateway is not None and gateway not in app.gateways:
            raise InvalidInput(
                f"there is no gateway {gateway!r}; there are {', '.join(app.gateways)}"
            )
        made = settle(app.database, app.gateways, begin, end, only=gateway)
    if csv_file:
        settlement_report.write_csv(made, csv_file)
    if html:
        html.write_text(settlement_report.page(made, zone), encoding="utf-8")
    rows = list(settlement_report.rows(made))
    if json:
        times = {"since": made.since, "until": made.until, "made_at": made.made_at}
        show_json({**times, "is_explained": made.is_explained, "figures": rows})
    else:
        show(rows, False, empty="No money moved, and none is open.")
    raise typer.Exit(0 if made.is_explained else 1)


def _window(
    day: str | None, since: str | None, until: str | None, zone: tzinfo
) -> tuple[datetime, datetime]:
    if day and (since or until):
        raise InvalidInput("--day and --since/--until exclude each other; give one")
    if bool(since) != bool(until):
        raise InvalidInput("--since and --until belong together; give both, or --day")
    if since and until:
        begin, end = window.moment(since, zone), window.moment(until, zone)
        if begin >= end:
            raise InvalidInput(f"--since {since} is not before --until {until}")
        return begin, end
    return window.day(day or _yesterday(zone), zone)


def _yesterday(zone: tzinfo) -> str:
    return str(datetime.now(zone).date() - timedelta(days=1))
