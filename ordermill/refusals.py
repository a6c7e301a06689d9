"""ordermill refusals: what was refused of messages, where nobody waited for the verdict, and messages
that can't be read."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, console, show
from ordermill.session import application
from pipeline.errors import InvalidInput
from pipeline.storage import refusals as storage

refusals = typer.Typer(
    help="What was refused of messages, and messages that can't be read.", no_args_is_help=True
)


@refusals.command("ls")
def ls(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: AsJson = False,
) -> None:
    """List what was refused of messages, newest first, with every problem.

    A message that can't be read has a queue and a size in bytes; `refusals show` has what was in it."""
    with application() as app, app.database.snapshot() as tx:
        found = [dict(r._mapping) for r in storage.latest(tx, limit)]
    for each in found:
        del each["message"]
    show(found, json, empty="Nothing was refused.")


@refusals.command("show")
def one(
    number: Annotated[int, typer.Argument(help="Its id in `refusals ls`.")], json: AsJson = False
) -> None:
    """Show one refusal; of a message that can't be read, what was in it. Card numbers are masked."""
    with application() as app, app.database.snapshot() as tx:
        found = storage.one(tx, number)
    if found is None:
        raise InvalidInput(f"there is no refusal {number}")
    told = dict(found._mapping)
    message = told.get("message") if json else told.pop("message")
    show([told], json, empty="")
    if not json and message is not None:
        console.print(message, markup=False, highlight=False, soft_wrap=True)
