"""ordermill queues: what waits where; pause and resume."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, console, one_of, show
from ordermill.session import acting, actor, application
from pipeline import overview
from pipeline.assembly import Application
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
    with application() as app:
        done = stop(app, step)
    console.print(f"{step} is paused." if done else f"{step} was paused already.")


@queues.command("resume")
def resume(step: Step) -> None:
    """Go on with a paused queue."""
    with application() as app:
        done = start(app, step)
    console.print(f"{step} goes on." if done else f"{step} was not paused.")


def stop(app: Application, step: str) -> bool:
    """Pause a queue, in the name of whoever runs the command; whether it wasn't paused already."""
    with acting(app, "queue.pause", step) as act:
        done = act.detail["changed"] = storage.pause(act.tx, step, actor())
    return done


def start(app: Application, step: str) -> bool:
    """Resume a queue, likewise; whether it was paused."""
    with acting(app, "queue.resume", step) as act:
        done = act.detail["changed"] = storage.resume(act.tx, step)
    return done
