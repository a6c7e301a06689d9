"""The pulse: the figures that every page shares, read at most once a second a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Literal, TypeVar

from pipeline.overview import HOURS, MINUTES, Overview, Series, begin, look, series
from pipeline.storage import clock, counters
from pipeline.storage.counters import History
from pipeline.storage.database import Database, Tx

T = TypeVar("T")

#: What took so long to read is good for so many times as long: reading costs a twentieth at most.
WORTH = 20.0
FRESH = 0.9


class Kept(Generic[T]):
    """A figure that is read again when it is old, by one thread at a time."""

    def __init__(self, read: Callable[[Tx], T]) -> None:
        self._read = read
        self._good_until = 0.0
        self._value: T | None = None

    def get(self, tx: Tx) -> T:
        value = self.known
        if value is None:
            began = time.monotonic()
            value = self._value = self._read(tx)
            took = time.monotonic() - began
            self._good_until = began + took + max(FRESH, took * WORTH)
        return value

    @property
    def known(self) -> T | None:
        """What needn't be read again yet."""
        return self._value if time.monotonic() < self._good_until else None

    def forget(self) -> None:
        self._good_until = 0.0


class Past:
    """The counters of the last `count` units. What is over is read once: each reading but the first
    looks only at what may have changed since the one before."""

    def __init__(self, unit: Literal["minute", "hour"], length: timedelta, count: int) -> None:
        self._unit = unit
        self._length = length
        self._count = count
        self._known: History = {}
        self._read_at: datetime | None = None

    def read(self, tx: Tx) -> History:
        now = clock.read(tx)
        oldest = begin(now, self._length) - self._length * (self._count - 1)
        # The unit before, too: what was counted at its very end may have been committed since.
        since = oldest
        if self._read_at is not None:
            since = max(oldest, begin(self._read_at, self._length) - self._length)
        fresh = counters.history(tx, self._unit, since)
        kept = {key: n for key, n in self._known.items() if oldest <= key[0] < since}
        self._known, self._read_at = kept | fresh, now
        return self._known


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
        self._hour = Kept(Past("minute", timedelta(minutes=1), MINUTES).read)
        self._day = Kept(Past("hour", timedelta(hours=1), HOURS).read)

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
