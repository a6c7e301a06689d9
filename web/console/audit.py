"""Audit: the last time that the rules were proved, and what was found. It runs as a job: it reads
all there is, which no request should wait for."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.storage import job_runs
from web.console.guard import Viewer
from web.console.jobs import told

router = APIRouter()
JOB = "audit"


@router.get("/audit")
def audit(caller: Viewer) -> Response:
    with caller.read() as tx:
        runs = [told(run) for run in job_runs.history(tx, 20, JOB)]
    last = next((run for run in runs if run["result"] is not None), None)
    return caller.page("audit.html", runs=runs, last=last, job=caller.console.jobs.get(JOB))
