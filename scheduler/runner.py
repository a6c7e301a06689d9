"""Running a job once it is taken: under a lease that is renewed, fenced, its end and log written."""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.exc import IntegrityError

from pipeline.assembly import Application
from pipeline.errors import LeaseLost
from pipeline.redaction import Redact, describe
from pipeline.storage import job_runs
from pipeline.storage.database import Tx
from pipeline.telemetry.logs import bound
from scheduler.capture import captured, storable
from scheduler.decision import MOST_ATTEMPTS, Action, Fire, GiveUp, Skip, Start, TakeOver
from scheduler.job import Job

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks at the table; that a silent runner keeps its run; between renewals."""

    tick: float = 1.0
    lease: float = 15.0
    renew: float = 5.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A run that is ours, by its token; which attempt at it this is."""

    id: int
    job: Job
    token: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its result as JSON, or its error; its log. `passes`: the database was away, or
    let go of its connection, so that the same again may do."""

    state: job_runs.State
    result: str | None
    error: str | None
    log: str
    passes: bool = False


class Runner:
    """Runs jobs, each in a thread of its own, on behalf of this process."""

    def __init__(self, app: Application, pace: Pace) -> None:
        self._app = app
        self._pace = pace
        self._redact = Redact(app.settings.secrets)
        self._in_hand: dict[str, tuple[Taken, threading.Thread]] = {}

    def act(self, job: Job, action: Action) -> bool:
        """Do what is to be done about `job`, unless another was first; whether it runs now, here."""
        taken = self._take(job, action)
        if taken is None:
            return False
        # A daemon: one that hangs must not keep the process from ending.
        thread = threading.Thread(
            target=self._run, args=(taken,), name=f"job {job.name}", daemon=True
        )
        self._in_hand[taken.token] = taken, thread
        thread.start()
        return True

    @property
    def is_busy(self) -> bool:
        return bool(self._in_hand)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is in hand; False if `seconds` were not enough."""
        give_up = time.monotonic() + seconds
        for _, thread in list(self._in_hand.values()):
            thread.join(max(0.0, give_up - time.monotonic()))
        return not self.is_busy

    def stop(self, patience: float) -> None:
        """Let what is in hand come to its end; what hasn't by then is handed back, for another."""
        self.wait(patience)
        for taken, _ in list(self._in_hand.values()):
            try:
                with self._app.database.transaction() as tx:
                    released = job_runs.release(tx, taken.id, taken.token)
            except Exception as error:  # its lease will run out all the same
                log.warning("job %s is not handed back: %s", taken.job.name, describe(error))
                continue
            if released:
                log.warning("job %s is handed back unfinished", taken.job.name)

    def _take(self, job: Job, action: Action) -> Taken | None:
        token, by, lease = str(uuid.uuid4()), whoami(), self._pace.lease
        try:
            with self._app.database.transaction() as tx:
                match action:
                    case Fire(moment):
                        run_id = job_runs.fire(tx, job.name, moment, token, by, lease)
                        return None if run_id is None else Taken(run_id, job, token)
                    case Start(run_id):
                        attempt = job_runs.start(tx, run_id, token, by, lease)
                    case TakeOver(run_id):
                        most = MOST_ATTEMPTS
                        attempt = job_runs.take_over(tx, run_id, token, by, lease, most)
                    case GiveUp(run_id):
                        why = (
                            f"attempt {MOST_ATTEMPTS} died or took longer than {job.time_limit:g} s"
                        )
                        if job_runs.give_up(tx, run_id, why, MOST_ATTEMPTS):
                            log.error("job %s failed: %s", job.name, why)
                        return None
                    case Skip(moment):
                        job_runs.skip(tx, job.name, moment, "an earlier run was still going on")
                        return None
        except IntegrityError:  # another run of it was started at the same moment
            return None
        if attempt is None:
            return None
        if attempt > 1:
            log.warning("job %s: run %d is taken over, attempt %d", job.name, run_id, attempt)
        return Taken(run_id, job, token, attempt)

    def _run(self, taken: Taken) -> None:
        try:
            with bound(job=taken.job.name, run=taken.id), self._renewing(taken):
                self._write_patiently(taken, self._ended(taken))
        except Exception as error:  # its end can't be written: it will be found, and run again
            log.error("the end of job %s is not written: %s", taken.job.name, describe(error))
        finally:
            del self._in_hand[taken.token]

    def _ended(self, taken: Taken) -> Ended:
        job = taken.job
        state: job_runs.State
        result = error = None
        passes = False
        with captured(self._redact) as kept:
            try:
                told = job.run(self._fenced(taken))
                result = json.dumps(told)
                state = "problem" if job.finds_problem(told) else "fine"
            except Exception as failure:  # whatever a job raises is how it ended
                passes = self._app.database.is_disconnect(failure)
                if passes:  # the cause is where the database is, not in the job
                    log.warning("job %s was broken off: %s", job.name, describe(failure))
                else:
                    log.exception("job %s failed", job.name)
                state, result, error = "failed", None, storable(describe(failure))
        return Ended(state, result, error, kept.text, passes)

    def _fenced(self, taken: Taken) -> Application:
        def fence(tx: Tx) -> None:
            if not job_runs.holds(tx, taken.id, taken.token):
                raise LeaseLost(taken.token)

        return replace(self._app, database=self._app.database.guarded(fence))

    def _write_patiently(self, taken: Taken, ended: Ended) -> None:
        """A database that restarts meanwhile must not cost what was done, nor a lease's time."""
        give_up = time.monotonic() + self._pace.lease
        while True:
            try:
                return self._write(taken, ended)
            except Exception as error:  # an outage is waited for, all else is raised again
                if not self._app.database.is_disconnect(error) or time.monotonic() > give_up:
                    raise
                time.sleep(random.uniform(0.2, 0.6))

    def _write(self, taken: Taken, ended: Ended) -> None:
        with self._app.database.transaction() as tx:
            if ended.passes and taken.attempt < MOST_ATTEMPTS:
                ours = job_runs.again(tx, taken.id, taken.token, ended.error or "")
            else:
                ours = job_runs.finish(
                    tx, taken.id, taken.token, ended.state, ended.result, ended.error, ended.log
                )
        if not ours:
            log.warning("job %s ended (%s) after it was taken from us", taken.job.name, ended.state)

    @contextmanager
    def _renewing(self, taken: Taken) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(
            target=self._renew, args=(taken, over), name=f"lease of {taken.job.name}", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()

    def _renew(self, taken: Taken, over: threading.Event) -> None:
        job, held = taken.job, True
        while held and not over.wait(self._pace.renew):
            try:
                with self._app.database.transaction() as tx:
                    held = job_runs.renew(
                        tx, taken.id, taken.token, self._pace.lease, job.time_limit
                    )
            except Exception as error:  # the next time may do; if not, another takes the run over
                log.warning("the lease of job %s is not renewed: %s", job.name, describe(error))
        if not over.is_set():
            log.warning(
                "job %s is left to another: taken over, or longer than %g s",
                job.name,
                job.time_limit,
            )


def whoami() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[-255:]
