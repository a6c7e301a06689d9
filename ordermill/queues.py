"""ordermill queues: what waits where; pause and resume."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, console, one_of, show
from ordermill.session import actor, application
from pipeline.chain import STEPS
from pipeline.storage import counters, dispatches
from pipeline.storage import queues as storage

queues = typer.Typer(help="See what waits where; stop and start it.", no_args_is_help=True)

Step = Annotated[str, typer.Argument(parser=one_of(STEPS), metavar="NAME", help="A queue's name.")]


@queues.command("ls")
def ls(json: AsJson = False) -> None:
    """For each queue: orders in it, due now, being worked on; what the last hour brought."""
    with application() as app, app.database.snapshot() as tx:
        stats, paused, hour = dispatches.stats(tx), storage.paused(tx), counters.since(tx, 3600)
    rows = []
    for step in STEPS:
        found = stats.get(step)
        rows.append(
            {
                "queue": step,
                "orders": int(found.orders) if found else 0,
                "due": int(found.due) if found else 0,
                "running": int(found.running) if found else 0,
                "oldest": found.oldest if found else None,
                **{k: hour.get((step, k), 0) for k in ("advanced", "retried", "held", "rejected")},
                "paused": f"by {paused[step].paused_by}" if step in paused else None,
            }
        )
    show(rows, json, empty="")


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
