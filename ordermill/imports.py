"""ordermill import: orders from a file; and what importing commands share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ordermill.output import AsJson, console, errors, show_json
from ordermill.session import application
from pipeline.intake.files.importer import Summary
from pipeline.intake.files.importer import import_orders as run_import
from pipeline.intake.files.mapping import load_mapping
from pipeline.intake.files.tally import Progress as Done
from pipeline.money import to_text
from pipeline.payments.choice import mend
from pipeline.storage import sources

File = Annotated[
    Path,
    typer.Argument(dir_okay=False, allow_dash=True, help="May be gzipped; - is standard input."),
]
Rejects = Annotated[
    Path | None, typer.Option(help="Write here, as CSV, each line refused: field, value, reason.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit code 1 if anything was refused, not only if all was.")
]
RowMapping = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="How the CSV is written, and which column is which."
    ),
]
OnProgress = Callable[[Done[Any]], None]


def import_orders(
    file: File,
    source: Annotated[str, typer.Option(help="The upstream system these orders are from.")],
    mapping: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="For CSV: which column is which field."),
    ] = None,
    rejects: Rejects = None,
    strict: Strict = False,
    json: AsJson = False,
) -> None:
    """Take orders in from a file: JSON lines, or CSV with a mapping.

    Every order gets a verdict: accepted + duplicates + conflicts + rejected = read. Running it
    again changes nothing; after Ctrl-C, that is how it goes on.
    """
    with application() as app:
        with app.database.snapshot() as tx:
            from_source = sources.by_name(tx, source)
        if lack := app.choice.lack(from_source.name, from_source.policy):
            errors.print(
                f"{lack}, so its orders wait, on hold: {mend(source)}, then requeue them.",
                markup=False,
            )
        columns = load_mapping(mapping) if mapping else None
        with _resumable(), progress_bar("orders") as on_progress:
            summary = run_import(app.intake, from_source, file, columns, rejects, on_progress)
    if json:
        show_json(_as_dict(summary))
    else:
        _tell(summary, rejects)
    raise typer.Exit(exit_code(summary.read, summary.rejected + summary.conflicts, strict=strict))


def exit_code(read: int, refused: int, *, strict: bool) -> int:
    """1 if all that was read was refused, or, if `strict`, anything."""
    return 1 if refused and (strict or refused == read) else 0


@contextmanager
def progress_bar(what: str) -> Iterator[OnProgress]:
    """A bar by bytes with the time left, and the rate in `what`."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), DownloadColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(f"importing {what}", total=None, rate="", is_look=False)

        def on_progress(done: Done[Any]) -> None:
            if done.is_look != bar.tasks[0].fields["is_look"]:
                doing = "looking through" if done.is_look else "importing"
                bar.reset(task, description=f"{doing} {what}", is_look=done.is_look, rate="")
            elapsed = bar.tasks[0].elapsed or 0
            if elapsed and not done.is_look:
                bar.update(task, rate=f"{done.summary.read / elapsed:,.0f} {what}/s")
            bar.update(task, completed=done.done, total=done.total)

        yield on_progress


@contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        errors.print("Interrupted. What was accepted stays; run the same command to go on.")
        raise typer.Exit(130) from None


def _tell(summary: Summary, rejects: Path | None) -> None:
    console.print(
        f"{summary.read:,} orders in {summary.rows:,} lines: {summary.accepted:,} accepted, "
        f"{summary.duplicates:,} duplicates, {summary.conflicts:,} in conflict, "
        f"{summary.rejected:,} rejected."
    )
    for currency, minor in sorted(summary.accepted_value.items()):
        console.print(f"Accepted and duplicates are worth {to_text(minor, currency)} {currency}.")
    tell_reasons(summary.reasons, rejects)


def tell_reasons(reasons: Counter[str], rejects: Path | None) -> None:
    for reason, count in reasons.most_common(20):
        console.print(f"  {count:>6,}  {reason}", markup=False)
    if reasons and rejects is None:
        console.print("Give --rejects FILE to have each refused line with field, value and reason.")


def _as_dict(summary: Summary) -> dict[str, Any]:
    return {
        "read": summary.read,
        "rows": summary.rows,
        "accepted": summary.accepted,
        "duplicates": summary.duplicates,
        "conflicts": summary.conflicts,
        "rejected": summary.rejected,
        "reasons": dict(summary.reasons),
        "accepted_value": {c: to_text(v, c) for c, v in summary.accepted_value.items()},
    }
