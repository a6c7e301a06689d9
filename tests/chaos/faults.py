"""The faults, and a plan of them: which, and at which moment, decided by a seed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
from sqlalchemy.exc import DBAPIError

from benchmarks.servers import restart_immediately
from pipeline.storage import dispatches
from pipeline.storage.database import Database
from tests.chaos.crew import Crew
from tests.chaos.home import Home

#: A frozen worker stays so for this many times its lease.
FROZEN_FOR = 1.3


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many of each."""

    kills: int
    flushes: int
    restarts: int
    freezes: int


@dataclass(frozen=True, slots=True)
class Faults:
    """Does harm; each returns what was done, in words. Several may be under way at once."""

    home: Home
    crew: Crew
    database: Database
    dice: random.Random
    _restarting: threading.Lock = field(default_factory=threading.Lock)

    def kill(self) -> str:
        """kill -9 of a worker or the scheduler, whichever comes."""
        member = self.dice.choice([m for m in self.crew.members if not m.is_stopped])
        in_hand = self._in_hand()
        self.crew.kill(member)
        return f"kill -9 {member.name} ({in_hand} orders under lease)"

    def flush(self) -> str:
        """The broker forgets everything."""
        with redis.Redis.from_url(self.home.broker_url) as client:
            client.flushall()
        return "FLUSHALL"

    def restart(self) -> str:
        """Postgres crashes and comes back."""
        with self._restarting:
            begun = time.monotonic()
            restart_immediately(self.home.postgres)
        return f"Postgres restarted immediately ({time.monotonic() - begun:.2f} s)"

    def freeze(self) -> str:
        """A worker stands still for longer than its lease, then goes on as if nothing had been."""
        workers = [m for m in self.crew.members if m.name.startswith("worker") and not m.is_stopped]
        member = self.dice.choice(workers)
        self.crew.freeze(member)
        time.sleep(self.home.lease_seconds * FROZEN_FOR)
        self.crew.thaw(member)
        return f"{member.name} frozen for {self.home.lease_seconds * FROZEN_FOR:.1f} s"

    def _in_hand(self) -> int | None:
        """Orders that are worked on somewhere; None if the database is away. Tells whether it hurt."""
        try:
            with self.database.snapshot() as tx:
                return sum(stats.running for stats in dispatches.stats(tx).values())
        except DBAPIError:
            return None

    def plan(self, numbers: Numbers, seconds: float) -> list[tuple[float, Callable[[], str]]]:
        """All of `numbers` in random order, at random moments within `seconds`, by moment."""
        acts = [self.kill] * numbers.kills + [self.flush] * numbers.flushes
        acts += [self.restart] * numbers.restarts + [self.freeze] * numbers.freezes
        self.dice.shuffle(acts)
        return list(zip(sorted(self.dice.uniform(0, seconds) for _ in acts), acts, strict=True))
