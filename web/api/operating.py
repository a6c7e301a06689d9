"""Queues and jobs: seen and steered with an operator's key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request
from fastapi.responses import Response

from pipeline import overview
from pipeline.acts import act
from pipeline.chain import STEPS
from pipeline.storage import clock, job_runs, queues
from web.api import shop_models as models
from web.api.models import LARGEST, Word
from web.callers import Operator
from web.jobs import Jobs
from web.problems import Refusal
from web.routing import answers, problems, router_of

router = router_of("operating")

Name = Annotated[Word, Path(max_length=64)]


@router.get("/queues", operation_id="listQueues", response_model=list[models.Queue])
def list_queues(caller: Operator) -> list[models.Queue]:
    """For each queue: orders in it, due now, in hand; what the last hour brought."""
    with caller.read() as tx:
        return [models.Queue(**queue) for queue in overview.queue_rows(tx)]


@router.post(
    "/queues/{name}/pause",
    operation_id="pauseQueue",
    response_model=models.Queue,
    responses=problems(404),
)
def pause(caller: Operator, name: Name) -> models.Queue:
    """Let nothing more be taken from a queue; what is in hand is finished. Twice is once."""
    _known(name, STEPS, "queue")
    with act(caller.app.database, caller.actor, "queue.pause", name) as doing:
        doing.detail["changed"] = queues.pause(doing.tx, name, caller.actor)
        return _queue(doing.tx, name)


@router.post(
    "/queues/{name}/resume",
    operation_id="resumeQueue",
    response_model=models.Queue,
    responses=problems(404),
)
def resume(caller: Operator, name: Name) -> models.Queue:
    """Go on with a paused queue. Twice is once."""
    _known(name, STEPS, "queue")
    with act(caller.app.database, caller.actor, "queue.resume", name) as doing:
        doing.detail["changed"] = queues.resume(doing.tx, name)
        return _queue(doing.tx, name)


@router.get("/jobs", operation_id="listJobs", response_model=list[models.JobOut])
def list_jobs(caller: Operator, request: Request) -> list[models.JobOut]:
    """The scheduled jobs: when each is next due, and how its last run went."""
    jobs: Jobs = request.app.state.jobs
    with caller.read() as tx:
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


@router.post(
    "/jobs/{name}/run",
    operation_id="runJob",
    status_code=202,
    response_model=models.Run,
    responses={
        **answers(202, "A scheduler will run it", models.Run, Location="the run"),
        **problems(404),
    },
)
def run(caller: Operator, name: Name, request: Request, response: Response) -> models.Run:
    """Let a job run now, beside its schedule: as soon as a scheduler takes it."""
    jobs: Jobs = request.app.state.jobs
    _known(name, jobs, "job")
    with act(caller.app.database, caller.actor, "job.run", name) as doing:
        number = doing.detail["run"] = jobs[name].ask(doing.tx, caller.actor)
        asked = job_runs.one(doing.tx, number)
    response.headers["Location"] = f"/v1/jobs/runs/{number}"
    return models.Run(**job_runs.told(asked))


@router.get(
    "/jobs/runs/{run}",
    operation_id="getJobRun",
    response_model=models.Run,
    responses=problems(404),
)
def show_run(caller: Operator, run: Annotated[int, Path(ge=1, le=LARGEST)]) -> models.Run:
    """How a run goes, or went."""
    with caller.read() as tx:
        found = job_runs.one(tx, run)
    if found is None:
        raise Refusal(404, "", f"there is no run {run}")
    return models.Run(**job_runs.told(found))


def _queue(tx: Any, name: str) -> models.Queue:
    return next(models.Queue(**q) for q in overview.queue_rows(tx) if q["queue"] == name)


def _known(name: str, known: Any, what: str) -> None:
    if name not in known:
        raise Refusal(404, "", f"there is no {what} {name!r}; there are {', '.join(known)}")
