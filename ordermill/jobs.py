"""ordermill jobs: what is scheduled, what ran, run one now."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, errors, one_of, show, show_json
from ordermill.session import application
from pipeline.storage import job_runs
from scheduler.table import JOBS
from scheduler.tick import run_now

jobs = typer.Typer(help="The scheduled jobs: when they ran, and one now.", no_args_is_help=True)


@jobs.command("ls")
def ls(
    history: Annotated[int, typer.Option(min=0, help="Show so many past runs instead.")] = 0,
    json: AsJson = False,
) -> None:
    """List the jobs with their last run, or past runs."""
    with application() as app, app.database.snapshot() as tx:
        latest, runs = job_runs.latest(tx), job_runs.history(tx, history)
    if history:
        show([dict(r._mapping) for r in runs], json, empty="No job has run yet.")
        return
    show(
        [
            {"job": j.name, "every_s": j.every, "last": latest.get(j.name), "does": j.description}
            for j in JOBS.values()
        ],
        json,
        empty="",
    )


@jobs.command("run")
def run(
    name: Annotated[str, typer.Argument(parser=one_of(JOBS), metavar="NAME", help="A job's name.")],
    json: AsJson = False,
) -> None:
    """Run a job now and wait for it. Exit code 1 if it failed."""
    with application() as app:
        finished = run_now(app, JOBS[name])
    if json:
        show_json({"job": name, "result": finished.result, "error": finished.error})
    elif finished.error:
        errors.print(f"{name} failed: {finished.error}")
    else:
        typer.echo(f"{name}: {finished.result}")
    raise typer.Exit(1 if finished.error else 0)
