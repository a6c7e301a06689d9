"""The database's clock: the only one that all processes agree on."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import select

from pipeline.storage.database import Tx
from pipeline.storage.sql import event_time, now


def read(tx: Tx) -> datetime:
    return tx.execute(select(now().label("now"))).scalar_one()


def of_next_event(tx: Tx) -> datetime:
    """When an event would be written now: after all that there are."""
    return tx.execute(select(event_time().label("at"))).scalar_one()


def skew(tx: Tx) -> float:
    """Seconds by which this host's clock is ahead of the database's; negative if it is behind. What the
    question takes is not counted."""
    before = time.time()
    database = read(tx).timestamp()
    after = time.time()
    if database < before:
        return before - database
    return min(0.0, after - database)


def told(seconds: float) -> str:
    """A skew in words."""
    where = "ahead of" if seconds > 0 else "behind"
    return f"{abs(seconds):,.0f} s {where} the database's"
