"""ordermill jobs: what is scheduled, what ran and what it logged; run one now."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from ordermill.output import AsJson, console, errors, one_of, show, show_json
from ordermill.session import acting, actor, application
from pipeline.errors import InvalidInput
from pipeline.storage import clock, job_runs, processes
from pipeline.typed import LARGEST
from scheduler.table import JOBS
from scheduler.tick import run_until_ended

jobs = typer.Typer(
    help="The scheduled jobs: when they ran, what they did, and one now.", no_args_is_help=True
)

#: The work is not done yet: exit code of `jobs run` when its time-out is over.
STILL_RUNNING = 3

Name = Annotated[str, typer.Argument(parser=one_of(JOBS), metavar="NAME", help="A job's name.")]


@jobs.command("ls")
def ls(json: AsJson = False) -> None:
    """List the jobs: their schedules (UTC), when each is next due, and how its last run went."""
    with application() as app, app.database.snapshot() as tx:
        now, last = clock.read(tx), job_runs.last(tx, JOBS)
    show(
        [
            {
                "job": job.name,
                "schedule": str(job.schedule),
                "next": job.schedule.following(now),
                "last": last[job.name].fire_at if job.name in last else None,
                "state": last[job.name].state if job.name in last else None,
                "limit_s": job.time_limit,
                "overlap": job.overlap,
                "does": job.description,
            }
            for job in JOBS.values()
        ],
        json,
        empty="",
    )


@jobs.command("history")
def history(
    name: Annotated[
        str | None,
        typer.Argument(parser=one_of(JOBS), metavar="[NAME]", help="Only this job's runs."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    json: AsJson = False,
) -> None:
    """List past runs, newest first: who ran each, how long it took, its result or error."""
    with application() as app, app.database.snapshot() as tx:
        runs = job_runs.history(tx, limit, name)
    show([job_runs.told(run) for run in runs], json, empty="No job has run yet.")


@jobs.command("log")
def log(
    name: Name,
    run: Annotated[
        int | None, typer.Option(max=LARGEST, help="The run's number; default the last.")
    ] = None,
) -> None:
    """Print what a run logged, the newest 64 kB of it."""
    with application() as app, app.database.snapshot() as tx:
        found = None
        if run is None:
            last = job_runs.last(tx, [name]).get(name)
            run = None if last is None else last.id
        if run is not None:
            found = job_runs.one(tx, run)
    if found is None or found.job != name:
        which = "a run" if run is None else f"run {run}"
        raise InvalidInput(
            f"there is no {which} of {name}; `ordermill jobs history {name}` lists them"
        )
    typer.echo(found.log or "", nl=False)


@jobs.command("run")
def run(
    name: Name,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for its end, or leave it to a scheduler.")
    ] = True,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Wait for so many seconds at most.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Run a job now, beside its schedule.

    Exit code 0 if all is well, 1 if it failed or found a problem, 3 if it has not ended when the
    time-out is over: whatever was begun is then finished by a scheduler. A run of the same job that
    is going on is waited for first.
    """
    with application() as app:
        # For its log: nothing below a warning would be made otherwise.
        logging.getLogger().setLevel(app.settings.log_level)
        with acting(app, "job.run", name) as act:
            number = act.detail["run"] = JOBS[name].ask(act.tx, actor())
        if wait:
            run_until_ended(app, JOBS[name], number, timeout)
        with app.database.snapshot() as tx:
            ended = job_runs.one(tx, number)
            helped = any(p.alive and p.role == "scheduler" for p in processes.all_processes(tx))
    if json:
        show_json(job_runs.told(ended))
    elif ended.state in job_runs.OPEN:
        console.print(
            f"{name}: run {number} is left to a scheduler; `ordermill jobs history {name}`."
        )
    elif ended.error:
        errors.print(f"{name} failed: {ended.error}", markup=False)
    else:
        typer.echo(f"{name}: {ended.result}")
    if ended.state in job_runs.OPEN and not helped:
        errors.print("No scheduler is running: start one with `ordermill scheduler`.")
    raise typer.Exit(_code(ended.state, wait=wait))


def _code(state: str, *, wait: bool) -> int:
    if state in job_runs.OPEN:
        return STILL_RUNNING if wait else 0
    return 0 if state == "fine" else 1
