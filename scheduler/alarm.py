"""An alarm clock: calls functions again and again, whatever the host's clock is set to meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from pipeline.telemetry.outage import Outage

log = logging.getLogger(__name__)
# It warns of each alarm that comes while the last call goes on: twice a second, if a server hangs.
logging.getLogger("apscheduler").setLevel(logging.ERROR)

#: Seconds, by a clock that nobody sets, between two looks at the host's.
LOOK_EVERY = 1.0


class AlarmClock:
    """APScheduler, which waits for moments of the host's clock: set back an hour, it would call
    nothing for an hour. So a thread looks whether the next moment is further away than it can be.
    """

    def __init__(self) -> None:
        # An alarm that comes late must still come, and once: APScheduler's default drops it silently.
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._watch_the_clock, name="alarm", daemon=True)

    def add(
        self,
        name: str,
        seconds: float,
        act: Callable[[], object],
        is_outage: Callable[[BaseException], bool],
    ) -> None:
        """Call `act` every so many `seconds`, and never while the last call goes on. One that raises
        is called again all the same; the log has each cause once a minute, as a database that is
        away makes every call fail; with the traceback, unless `is_outage` knows the error."""
        outage = Outage(log, f"{name} failed")

        def ring() -> None:
            try:
                act()
                outage.worked()
            except Exception as error:  # a clock that stops stops every job
                outage.failed(error, is_defect=not is_outage(error))

        self._scheduler.add_job(ring, "interval", seconds=seconds, id=name)

    def start(self) -> None:
        self._scheduler.start()
        self._watch.start()

    def stop(self) -> None:
        """Returns when the calls in hand have ended."""
        self._stopped.set()
        self._watch.join()
        self._scheduler.shutdown(wait=True)

    def _watch_the_clock(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            now = datetime.now(UTC)
            for job in self._scheduler.get_jobs():
                furthest = now + job.trigger.interval + timedelta(seconds=LOOK_EVERY)
                if job.next_run_time and job.next_run_time > furthest:
                    job.modify(next_run_time=now)
