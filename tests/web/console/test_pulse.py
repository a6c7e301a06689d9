"""The figures that pages share: read once for all, and of the past no more than may have changed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from pipeline.storage import clock, counters
from pipeline.storage.database import Database, Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import counters as table
from web.console import pulse
from web.console.pulse import Kept, Past

MINUTE = timedelta(minutes=1)


def count(tx: Tx, minutes_ago: float, orders: int) -> None:
    tx.execute(
        table.insert().values(
            at=now(-60 * minutes_ago), step="pay", outcome="advanced", orders=orders
        )
    )


def test_the_past_is_read_once_and_what_may_have_changed_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []
    history = counters.history

    def spied(tx: Tx, unit: str, since: datetime) -> counters.History:
        asked.append(since)
        return history(tx, unit, since)  # type: ignore[arg-type]

    monkeypatch.setattr(counters, "history", spied)
    past = Past("minute", MINUTE, 60)
    with database.transaction() as tx:
        count(tx, 30, 5)
        count(tx, 70, 9)
        first = past.read(tx)
        count(tx, 0, 2)
        count(tx, 29, 100)  # nobody counts in the past: it is not looked for there
        second = past.read(tx)
        at = clock.read(tx)

    assert sum(first.values()) == 5
    assert sum(second.values()) == 7
    assert at - asked[0] > 58 * MINUTE
    assert at - asked[1] < 3 * MINUTE


def test_who_has_not_looked_for_long_reads_what_he_missed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past("minute", MINUTE, 60)
    with database.transaction() as tx:
        real = clock.read(tx)
        monkeypatch.setattr(pulse.clock, "read", lambda _: real - 20 * MINUTE)
        past.read(tx)
        count(tx, 10, 3)
        monkeypatch.setattr(pulse.clock, "read", lambda _: real)

        assert sum(past.read(tx).values()) == 3


def test_what_took_long_to_read_is_good_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "WORTH", 20.0)
    times = iter([0.0, 0.0, 1.0, 20.9, 21.1, 21.1, 21.1])
    monkeypatch.setattr(pulse.time, "monotonic", lambda: next(times))
    reads: list[int] = []
    kept = Kept(lambda _: reads.append(1) or len(reads))

    with database.snapshot() as tx:
        got = [kept.get(tx), kept.get(tx)]
        still = kept.known

    assert (got, still) == ([1, 1], None)
