"""ordermill queues: what waits where; pause and resume."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, console, one_of, show
from ordermill.session import actor, application
from pipeline import overview
from pipeline.chain import STEPS
from pipeline.storage import queues as storage

queues = typer.Typer(help="See what waits where; stop and start it.", no_args_is_help=True)

Step = Annotated[str, typer.Argument(parser=one_of(STEPS), metavar="NAME", help="A queue's name.")]


@queues.command("ls")
def ls(json: AsJson = False) -> None:
    """For each queue: orders in it, due now, being worked on; what the last hour brought."""
    with application() as app, app.database.snapshot() as tx:
        found = overview.queue_rows(tx)
    show([{**q, "paused": q["paused"] and f"by {q['paused']}"} for q in found], json, empty="")


@queues.command("pause")
def pause(step: Step) -> None:
    """Let nothing more be taken from a queue; what is in hand is finished."""
    with application() as app, app.database.transaction() as tx:
        done = storage.pause(tx, step, actor())
    console.print(f"{step} is paused." if done else f"{step} was paused already.")


@queues.command("resume")
def resume(step: Step) -> None:
    """Go on with a paused queue."""
    with application() as app, app.database.transaction() as tx:
        done = storage.resume(tx, step)
    console.print(f"{step} goes on." if done else f"{step} was not paused.")
