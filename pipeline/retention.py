"""Retention: orders that have been over for long go to the archive, and forget who ordered.

Both walk up the ids of a source's orders in transactions of at most 1,000: whoever breaks off in
between has done what was committed, and begins again for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pipeline.errors import InvalidInput
from pipeline.notifications.email import discard
from pipeline.source import LEAST_DAYS
from pipeline.storage import archive, clock, erasure, refusals
from pipeline.storage.database import Database, Tx
from pipeline.storage.erasure import Erased
from pipeline.storage.sources import all_sources, by_name

MOST_ORDERS = 1_000
#: So many times as long as a batch took is rested after it. Beside live traffic that used two cores
#: up, so much left it 0.8 of its throughput and more (`python -m benchmarks.retention`).
ROOM = 4.0

Policy = Literal["archive_after", "erase_after"]
OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Due:
    """Orders of a source that have been over since before `cutoff`."""

    source_id: int
    source: str
    cutoff: datetime


def due(
    tx: Tx, policy: Policy, *, source: str | None = None, older_than: float | None = None
) -> list[Due]:
    """What is due by the sources' policies; or, with `older_than` (seconds), all that old. InvalidInput
    for less than LEAST_DAYS."""
    if older_than is not None and older_than < LEAST_DAYS * 86_400:
        raise InvalidInput(
            f"--older-than: got {older_than / 86_400:g}d, expected at least {LEAST_DAYS}d"
        )
    now = clock.read(tx)
    chosen = [by_name(tx, source)] if source else all_sources(tx).values()
    found = []
    for each in chosen:
        days: int | None = getattr(each.policy, policy)
        seconds = older_than if older_than is not None else days and days * 86_400.0
        if seconds is not None:
            found.append(Due(each.id, each.name, now - timedelta(seconds=seconds)))
    return found


@dataclass(slots=True)
class Pace:
    """How fast: with a `rate`, so many orders a second; else resting `room` times as long as was
    worked. Nothing is begun once `seconds` are over."""

    rate: float | None = None
    room: float = ROOM
    seconds: float = float("inf")
    _began: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        return time.monotonic() - self._began > self.seconds

    def rest(self, orders: int, took: float) -> None:
        """After a batch of so many orders, which took so many seconds."""
        wait = took * self.room if self.rate is None else orders / self.rate - took
        time.sleep(max(0.0, wait))


def archive_all(
    database: Database, dues: Sequence[Due], pace: Pace, progress: OnProgress = lambda _: None
) -> int:
    """Move all that is due into the archive; how many that were."""
    moved = 0
    for each in dues:
        after: int | None = 0
        while after is not None and not pace.is_over():
            began = time.monotonic()
            with database.transaction() as tx:
                over, after = archive.lock_over(tx, each.source_id, each.cutoff, after, MOST_ORDERS)
                done = archive.move(tx, over)
            took = time.monotonic() - began
            moved += done
            progress(moved)
            if after is not None:
                pace.rest(done, took)
    return moved


def erase_all(database: Database, dues: Sequence[Due], pace: Pace, mails: Path, actor: str) -> int:
    """Forget who ordered what is due, be it archived or not; how many orders that were."""
    erased = 0
    for each in dues:
        with database.transaction() as tx:
            refusals.erase_old(tx, each.source, each.cutoff)
        for done, took in _erase_due(database, each, mails, actor):
            erased += done
            if pace.is_over():
                return erased
            pace.rest(done, took)
    return erased


def _erase_due(
    database: Database, due: Due, mails: Path, actor: str
) -> Iterator[tuple[int, float]]:
    """Batch after batch: how many orders, and the seconds that it took."""
    after: int | None = 0
    while after is not None:
        began = time.monotonic()
        with database.transaction() as tx:
            over, after = archive.lock_over(
                tx, due.source_id, due.cutoff, after, MOST_ORDERS, unerased=True
            )
            done = _erase(tx, over, mails, actor)
        yield len(done.erased), time.monotonic() - began
    while True:
        began = time.monotonic()
        with database.transaction() as tx:
            found = erasure.archived_unerased(tx, due.source_id, due.cutoff, MOST_ORDERS)
            done = _erase(tx, found, mails, actor)
        if not found:
            return
        yield len(done.erased), time.monotonic() - began


def _erase(tx: Tx, order_ids: Iterable[int], mails: Path, actor: str) -> Erased:
    done = erasure.erase(tx, order_ids, actor)
    # Before the commit: who dies in between does it all again.
    discard(mails, done.mails)
    return done


def erase(
    database: Database, order_ids: Sequence[int], mails: Path, actor: str, *, dry_run: bool = False
) -> Erased:
    """Forget who ordered these, and their addresses wherever else they are written; those that are
    not settled, or unknown, are named in what is returned."""
    all_done = Erased()
    for start in range(0, len(order_ids), MOST_ORDERS):
        with database.transaction() as tx:
            batch = order_ids[start : start + MOST_ORDERS]
            done = erasure.erase(tx, batch, actor, dry_run=dry_run)
            discard(mails, done.mails)
            if done.emails or done.external_ids:
                erasure.erase_mentions(tx, done.emails, done.external_ids)
        for name in ("erased", "already", "refused", "unknown"):
            getattr(all_done, name).extend(getattr(done, name))
    return all_done
