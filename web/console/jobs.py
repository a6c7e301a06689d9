"""Jobs: what is scheduled, what ran and what it logged; run one now."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from pipeline.storage import clock, job_runs
from web.console.guard import Caller, Number, Operator, Viewer
from web.jobs import Job

router = APIRouter(prefix="/jobs")
SHOWN = 50


@router.get("")
def jobs(caller: Viewer) -> Response:
    known = caller.console.jobs
    with caller.read() as tx:
        now, last = clock.read(tx), job_runs.last(tx, known)
    rows = [
        {"job": job, "next": job.schedule.following(now), "last": last.get(job.name)}
        for job in known.values()
    ]
    return caller.page("jobs.html", jobs=rows)


@router.get("/{name}")
def one(caller: Viewer, name: str) -> Response:
    job = _known(caller, name)
    with caller.read() as tx:
        now, runs = clock.read(tx), job_runs.history(tx, SHOWN, name)
    shown = [told(run) for run in runs]
    return caller.page("job.html", job=job, next=job.schedule.following(now), runs=shown)


@router.get("/{name}/runs/{run_id}")
def run(caller: Viewer, name: str, run_id: Number) -> Response:
    job = _known(caller, name)
    with caller.read() as tx:
        found = job_runs.one(tx, run_id)
    if found is None or found.job != name:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no run {run_id} of {name}.")
    return caller.page("run.html", job=job, run=told(found), log=found.log)


@router.get("/{name}/run")
def ask_run(caller: Operator, name: str) -> Response:
    job = _known(caller, name)
    says = [
        f"It will {job.description}.",
        "A scheduler takes it within a second, beside its schedule. One job never runs twice at "
        "a time: if it is running now, it runs again after.",
    ]
    return caller.page(
        "confirm.html", title=f"Run {name}", says=says, button="Run now",
        action=f"/console/jobs/{name}/run", back=f"/console/jobs/{name}", fields={},
        password=False, wrong="", danger=False,
    )  # fmt: skip


@router.post("/{name}/run")
def run_now(caller: Operator, name: str) -> Response:
    job = _known(caller, name)
    with caller.act("job.run", name) as act:
        number = act.detail["run"] = job.ask(act.tx, caller.actor)
    return caller.done(f"/console/jobs/{name}", f"Run {number} waits for a scheduler.")


def _known(caller: Caller, name: str) -> Job:
    job: Job | None = caller.console.jobs.get(name)
    if job is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no job of that name.")
    return job


def told(run: Any) -> dict[str, Any]:
    """A run as pages have it, with `seconds` it took and its result read."""
    took = run.finished_at - run.started_at if run.finished_at and run.started_at else None
    return {
        **run._mapping,
        "seconds": None if took is None else took.total_seconds(),
        "result": None if run.result is None else json.loads(run.result),
    }
