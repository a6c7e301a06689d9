"""A scheduler: ticks for every job until told to stop. Run any number."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from dramatiq import Broker

from pipeline.assembly import DATABASE_PATIENCE, assemble
from pipeline.presence import Presence
from pipeline.settings import Settings
from pipeline.webhooks.dispatcher import Dispatcher
from scheduler.alarm import AlarmClock
from scheduler.announce import announce
from scheduler.job import Job
from scheduler.runner import Pace, Runner
from scheduler.table import JOBS
from scheduler.tick import tick
from workers.announcer import BrokerAnnouncer, PatientAnnouncer
from workers.broker import is_away, make_broker

ANNOUNCE_EVERY = 0.5
#: Seconds that runs, and webhooks, in hand have to end when the process is told to; then others go
#: on with them.
STOP_WITHIN = 10.0


class SchedulerProcess:
    """`jobs` and `pace` are other than they are in tests only."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker | None = None,
        *,
        jobs: Collection[Job] = tuple(JOBS.values()),
        pace: Pace | None = None,
    ) -> None:
        pace = pace or Pace()
        announcer = self._announcer = BrokerAnnouncer(
            broker or make_broker(settings.broker_url, [])
        )
        self._hints = PatientAnnouncer(announcer)
        self.app = assemble(settings, self._hints, patience=DATABASE_PATIENCE, role="scheduler")
        self._presence = Presence(self.app.database, "scheduler", gateways=self.app.gateways)
        self._runner = Runner(self.app, pace)
        # Only an alarm clock: what is due is in the database.
        self._clock = AlarmClock()
        # Not among the jobs: it is due all the time, harmless to do twice, and its history is noise.
        self._ring("announce", ANNOUNCE_EVERY, partial(announce, self.app, announcer))
        self._ring("tick", pace.tick, partial(tick, self.app.database, self._runner, jobs))
        # Nor is this one, which has a log of its own.
        webhooks = self.app.webhooks
        self._webhooks = Dispatcher(self.app.database, webhooks.signer, webhooks.allowed)

    def _ring(self, name: str, seconds: float, act: Callable[[], object]) -> None:
        def is_outage(error: BaseException) -> bool:
            return is_away(error) or self.app.database.is_disconnect(error)

        self._clock.add(name, seconds, act, is_outage)

    def start(self) -> None:
        self._presence.start()
        self._clock.start()
        self._webhooks.start()

    def stop(self) -> None:
        self._clock.stop()
        self._webhooks.stop(STOP_WITHIN)
        self._runner.stop(STOP_WITHIN)
        self._hints.close()
        self._presence.stop()
        self.app.close()
