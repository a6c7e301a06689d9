"""The processes: worker, scheduler, and `up` with everything in one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline.assembly import open_database
from pipeline.settings import Settings
from scheduler.process import SchedulerProcess
from workers.broker import make_broker
from workers.process import WorkerProcess


class Process(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


def run_until_signalled(process: Process) -> None:
    """Start; on SIGTERM or Ctrl-C finish what is in hand and stop."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    process.start()
    try:
        told.wait()
    finally:
        process.stop()


class Everything:
    """Worker and scheduler in this process, on a broker that only they see."""

    def __init__(self, settings: Settings) -> None:
        broker = make_broker(settings.broker_url, [])
        self.worker = WorkerProcess(settings, broker)
        self.scheduler = SchedulerProcess(settings, broker)

    def start(self) -> None:
        self.worker.start()
        self.scheduler.start()

    def stop(self) -> None:
        self.scheduler.stop()
        self.worker.stop()


def upgrade_embedded(settings: Settings) -> None:
    """The embedded home has no deployment step: its schema is brought up here."""
    database = open_database(settings)
    if database.is_sqlite:
        database.upgrade()
    database.close()


@contextmanager
def running(process: Process) -> Iterator[None]:
    process.start()
    try:
        yield
    finally:
        process.stop()
