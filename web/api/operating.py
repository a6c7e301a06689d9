"""Queues and jobs: seen and steered with an operator's key."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from pipeline import overview
from pipeline.acts import Act, act
from pipeline.chain import STEPS
from pipeline.storage import clock, job_runs, queues
from pipeline.storage.database import Database
from web.api import shop_models as models
from web.api.models import LARGEST, Word
from web.callers import Caller, Operator
from web.jobs import Jobs
from web.problems import Refusal
from web.routing import answers, problems, router_of

Name = Annotated[Word, Path(max_length=64)]


def routes(database: Database, jobs: Jobs) -> APIRouter:
    api = router_of("operating")

    def acting(caller: Caller, action: str, target: str) -> AbstractContextManager[Act]:
        """A transaction that does something in the name of the key that it is asked with."""
        return act(database, caller.actor, action, target)

    @api.get("/queues", operation_id="listQueues", response_model=list[models.Queue])
    def list_queues(caller: Operator) -> list[models.Queue]:
        """For each queue: orders in it, due now, in hand; what the last hour brought."""
        with database.snapshot() as tx:
            return [models.Queue(**queue) for queue in overview.queue_rows(tx)]

    @api.post(
        "/queues/{name}/pause",
        operation_id="pauseQueue",
        response_model=models.Queue,
        responses=problems(404),
    )
    def pause(caller: Operator, name: Name) -> models.Queue:
        """Let nothing more be taken from a queue; what is in hand is finished. Twice is once."""
        _known(name, STEPS, "queue")
        with acting(caller, "queue.pause", name) as doing:
            doing.detail["changed"] = queues.pause(doing.tx, name, caller.actor)
            return _queue(doing.tx, name)

    @api.post(
        "/queues/{name}/resume",
        operation_id="resumeQueue",
        response_model=models.Queue,
        responses=problems(404),
    )
    def resume(caller: Operator, name: Name) -> models.Queue:
        """Go on with a paused queue. Twice is once."""
        _known(name, STEPS, "queue")
        with acting(caller, "queue.resume", name) as doing:
            doing.detail["changed"] = queues.resume(doing.tx, name)
            return _queue(doing.tx, name)

    @api.get("/jobs", operation_id="listJobs", response_model=list[models.JobOut])
    def list_jobs(caller: Operator) -> list[models.JobOut]:
        """The scheduled jobs: when each is next due, and how its last run went."""
        with database.snapshot() as tx:
            now, last = clock.read(tx), job_runs.last(tx, jobs)
        return [
            models.JobOut(
                job=job.name, schedule=str(job.schedule), next=job.schedule.following(now),
                does=job.description,
                last=last[job.name].fire_at if job.name in last else None,
                state=last[job.name].state if job.name in last else None,
            )
            for job in jobs.values()
        ]  # fmt: skip

    @api.post(
        "/jobs/{name}/run",
        operation_id="runJob",
        status_code=202,
        response_model=models.Run,
        responses={
            **answers(202, "A scheduler will run it", models.Run, Location="the run"),
            **problems(404),
        },
    )
    def run(caller: Operator, name: Name, response: Response) -> models.Run:
        """Let a job run now, beside its schedule: as soon as a scheduler takes it."""
        _known(name, jobs, "job")
        with acting(caller, "job.run", name) as doing:
            number = doing.detail["run"] = jobs[name].ask(doing.tx, caller.actor)
            asked = job_runs.one(doing.tx, number)
        response.headers["Location"] = f"/v1/jobs/runs/{number}"
        return models.Run(**job_runs.told(asked))

    @api.get(
        "/jobs/runs/{run}",
        operation_id="getJobRun",
        response_model=models.Run,
        responses=problems(404),
    )
    def show_run(caller: Operator, run: Annotated[int, Path(ge=1, le=LARGEST)]) -> models.Run:
        """How a run goes, or went."""
        with database.snapshot() as tx:
            found = job_runs.one(tx, run)
        if found is None:
            raise Refusal(404, "", f"there is no run {run}")
        return models.Run(**job_runs.told(found))

    return api


def _queue(tx: Any, name: str) -> models.Queue:
    return next(models.Queue(**q) for q in overview.queue_rows(tx) if q["queue"] == name)


def _known(name: str, known: Any, what: str) -> None:
    if name not in known:
        raise Refusal(404, "", f"there is no {what} {name!r}; there are {', '.join(known)}")
