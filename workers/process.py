"""A worker: actors on a broker, working on an application until told to stop."""

from __future__ import annotations

import gc
from collections.abc import Collection

import dramatiq
from dramatiq import Broker

from pipeline.assembly import DATABASE_PATIENCE, Application, assemble
from pipeline.chain import STEPS
from pipeline.notifications.deliver import Courier
from pipeline.presence import Presence
from pipeline.settings import Settings
from workers.actors import declare_actors
from workers.announcer import BrokerAnnouncer, PatientAnnouncer
from workers.broker import make_broker
from workers.messages import INTAKE_QUEUE
from workers.middleware.dead_letters import KeepDeadLetters
from workers.middleware.graceful_stop import GracefulStop
from workers.middleware.leases import KeepLeases
from workers.middleware.presence import ShowPresence

#: Milliseconds for the batches in hand to finish when the worker is asked to stop.
STOP_WITHIN = 60_000


def _collect_garbage_seldom() -> None:
    """A batch makes tens of thousands of objects, none in a cycle, and Python's collector looks
    through them all again and again: 3,410 orders/s with its defaults, 4,095 and 4,166 with this and
    what was loaded out of its sight."""
    gc.set_threshold(100_000, 50, 100)


class WorkerProcess:
    """Threads that work on batches. `start` returns at once; `stop` waits for what is in hand."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker | None = None,
        serves: Collection[str] = STEPS,
        courier: Courier | None = None,
    ) -> None:
        self.broker = make_broker(settings.broker_url, []) if broker is None else broker
        self._announcer = PatientAnnouncer(BrokerAnnouncer(self.broker))
        self.app: Application = assemble(
            settings,
            self._announcer,
            courier=courier,
            serves=serves,
            patience=DATABASE_PATIENCE,
            role="worker",
        )
        for middleware in (
            KeepLeases(self.app.engine),
            KeepDeadLetters(),
            GracefulStop(self.app.engine),
            ShowPresence(
                Presence(
                    self.app.database,
                    "worker",
                    self.app.engine.leases.in_hand,
                    self.app.gateways,
                )
            ),
        ):
            self.broker.add_middleware(middleware)
        declare_actors(self.broker, self.app)
        self._worker = dramatiq.Worker(
            self.broker,
            queues={*serves, INTAKE_QUEUE},
            worker_timeout=100,
            worker_threads=settings.worker_threads,
        )

    def start(self) -> None:
        _collect_garbage_seldom()
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop(STOP_WITHIN)
        self._announcer.close()
        self.app.close()
