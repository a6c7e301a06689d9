"""The pulse: the figures that every page shares, read at most once a second a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from pipeline.overview import HOURS, MINUTES, Overview, Series, look, series
from pipeline.storage import counters
from pipeline.storage.database import Database, Tx

T = TypeVar("T")

#: What took so long to read is good for so many times as long: reading costs a twentieth at most.
WORTH = 20.0
FRESH = 0.9


class Kept(Generic[T]):
    """A figure that is read again when it is old, by one thread at a time."""

    def __init__(self, read: Callable[[Tx], T], fresh: float | None = None) -> None:
        self._read = read
        self._fresh = fresh
        self._good_until = 0.0
        self._value: T | None = None

    def get(self, tx: Tx) -> T:
        value = self.known
        if value is None:
            began = time.monotonic()
            value = self._value = self._read(tx)
            took = time.monotonic() - began
            self._good_until = began + took + max(self._least(), took * WORTH)
        return value

    def _least(self) -> float:
        return FRESH if self._fresh is None else self._fresh

    @property
    def known(self) -> T | None:
        """What needn't be read again yet."""
        return self._value if time.monotonic() < self._good_until else None

    def forget(self) -> None:
        self._good_until = 0.0


@dataclass(frozen=True, slots=True)
class Beat:
    """The overview, and each queue's last hour by minute and last day by hour."""

    now: Overview
    hour: dict[str, Series]
    day: dict[str, Series]

    def throughput(self, step: str, *, hour: bool = True) -> int:
        return sum((self.hour if hour else self.day)[step].through)

    def failures(self, step: str, *, hour: bool = True) -> int:
        return sum((self.hour if hour else self.day)[step].failed)


class Pulse:
    def __init__(self, database: Database, jobs: Sequence[str]) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._now = Kept(lambda tx: look(tx, jobs))
        self._hour = Kept(lambda tx: counters.by_minute(tx, MINUTES - 1))
        self._day = Kept(lambda tx: counters.by_hour(tx, HOURS - 1), fresh=10.0)

    def beat(self) -> Beat:
        with self._lock, self._database.snapshot() as tx:
            now = self._now.get(tx)
            hour, day = self._hour.get(tx), self._day.get(tx)
        steps = [queue.step for queue in now.queues]
        minute, sixty = timedelta(minutes=1), timedelta(hours=1)
        return Beat(
            now,
            {step: series(hour, now.at, MINUTES, minute, step) for step in steps},
            {step: series(day, now.at, HOURS, sixty, step) for step in steps},
        )

    def forget(self) -> None:
        """What was read is no longer so: an operator has just changed it."""
        with self._lock:
            self._now.forget()

    @property
    def held(self) -> int:
        """How many orders are on hold."""
        now = self._now.known
        if now is None:
            with self._lock, self._database.snapshot() as tx:
                now = self._now.get(tx)
        return sum(each.orders for each in now.held)
