"""Keeps the leases of work in hand from running out, and says what that work is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.engine.claim import Batch
from pipeline.storage import dispatches
from pipeline.storage.database import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InHand:
    """A batch being worked on. `since` and `until` are this process's monotonic clock."""

    step: str
    orders: int
    since: float
    until: float


class Leases:
    """Renews from a thread of its own, at a third of the lease, up to each step's time limit.

    A worker that hangs therefore loses its batch, and one that is merely slow does not.
    """

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._in_hand: dict[str, InHand] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def kept(self, token: str, time_limit: float, batch: Batch) -> Iterator[None]:
        """Renew the lease `token` while the block runs."""
        begun = time.monotonic()
        with self._lock:
            self._in_hand[token] = InHand(
                batch.step, len(batch.everyone), begun, begun + time_limit
            )
        try:
            yield
        finally:
            with self._lock:
                del self._in_hand[token]

    def in_hand(self) -> list[InHand]:
        """What this process works on at this moment."""
        with self._lock:
            return list(self._in_hand.values())

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._renew_until_stopped, name="leases", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _renew_until_stopped(self) -> None:
        while not self._stopped.wait(self._seconds / 3):
            try:
                self._renew()
            except Exception as error:  # the next renewal may do; if not, another takes them over
                log.warning("could not renew leases: %s", error)

    def _renew(self) -> None:
        # Most batches are done long before a third of their lease: renew only what is older.
        now = time.monotonic()
        with self._lock:
            tokens = [
                token
                for token, work in self._in_hand.items()
                if now < work.until and now - work.since > self._seconds / 4
            ]
        if tokens:
            with self._database.transaction() as tx:
                dispatches.renew(tx, tokens, self._seconds)
