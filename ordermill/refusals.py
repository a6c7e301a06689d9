"""ordermill refusals: orders refused from messages, where nobody waited for the verdict."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, show
from ordermill.session import application
from pipeline.storage import refusals as storage

refusals = typer.Typer(help="Orders refused from messages.", no_args_is_help=True)


@refusals.command("ls")
def ls(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: AsJson = False,
) -> None:
    """List what was refused from messages, newest first, with every problem."""
    with application() as app, app.database.snapshot() as tx:
        found = storage.latest(tx, limit)
    show([dict(r._mapping) for r in found], json, empty="Nothing was refused.")
