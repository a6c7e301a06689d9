"""Who waits at a till goes first within a process, too: an import never has all of its threads, and
begins no further step while a shopper's order is in hand.

The claim puts lanes in order, but only among what waits. What is in hand shares an interpreter that
runs one thread at a time, and a step of a thousand orders keeps it busy for a good part of a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.order import Lane
from pipeline.shoppers import PORTION, Shoppers

#: Seconds that a bulk batch gives way at each step. At rest a shopper's order is through all stages
#: in a third of it; one that waits for its gateway must not stop an import.
PATIENCE = 0.25

#: Seconds after which a step that is not over hangs: its lease has run out long ago. Its batch is
#: others' to take, so it must not keep the place from them.
HUNG_AFTER = 90.0


class Lanes:
    """At most `bulk` batches of the lane bulk in hand at once, but for those whose step hangs; any
    number that are interactive."""

    def __init__(self, bulk: int) -> None:
        self._most = bulk
        self._changed = threading.Condition()
        self._in_hand = dict.fromkeys((lane.rank for lane in Lane), 0)
        self._steps_began: dict[Visit, float] = {}  # of the lane bulk
        self._turned_away: set[str] = set()
        self._shoppers = Shoppers()

    def most_bulk(self, batch: int) -> int:
        """Bulk orders to be taken at once by who would take so many."""
        return min(batch, PORTION) if self._shoppers.expected else batch

    @contextmanager
    def visit(self, step: str) -> Iterator[Visit]:
        """For one batch, from its claim to its end."""
        visit = Visit(self, step)
        try:
            yield visit
        finally:
            visit.leave()

    def turned_away(self) -> set[str]:
        """Steps whose hints found bulk work and no place for it, while there is one again; each is
        told once."""
        with self._changed:
            if self._is_full():
                return set()
            steps, self._turned_away = self._turned_away, set()
            return steps

    def _is_full(self) -> bool:
        hung = time.monotonic() - HUNG_AFTER
        return sum(began > hung for began in self._steps_began.values()) >= self._most

    def _admit(self, visit: Visit, step: str, lane: int) -> bool:
        with self._changed:
            if lane == Lane.BULK.rank:
                if self._is_full():
                    self._turned_away.add(step)
                    return False
                self._steps_began[visit] = time.monotonic()
            self._in_hand[lane] += 1
            if lane == Lane.INTERACTIVE.rank:
                self._shoppers.came()
            return True

    def _leave(self, visit: Visit, lane: int) -> None:
        with self._changed:
            self._in_hand[lane] -= 1
            self._steps_began.pop(visit, None)
            self._changed.notify_all()

    def _give_way(self, visit: Visit) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._in_hand[Lane.INTERACTIVE.rank], PATIENCE)
            self._steps_began[visit] = time.monotonic()


class Visit:
    """One batch's place. Nobody's until `admit`."""

    def __init__(self, lanes: Lanes, step: str) -> None:
        self._lanes = lanes
        self._step = step
        self._lane: int | None = None

    def admit(self, lane: int) -> bool:
        """Whether there is a place for a batch of `lane` (its rank), which it has from now on."""
        if self._lanes._admit(self, self._step, lane):
            self._lane = lane
            return True
        return False

    def give_way(self) -> None:
        """Before each step: a bulk batch waits for what is interactive to be through, for a while."""
        if self._lane == Lane.BULK.rank:
            self._lanes._give_way(self)

    def leave(self) -> None:
        if self._lane is not None:
            self._lanes._leave(self, self._lane)
            self._lane = None
