"""Both databases keep times to the microsecond: what was done first can be told from the times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, select

from pipeline.storage import clock
from pipeline.storage.database import Database
from pipeline.storage.sql import UtcDateTime, now, pack, rows

AT = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)


def test_of_two_looks_at_the_clock_the_second_is_later(database: Database) -> None:
    with database.transaction() as tx:
        seen = [clock.read(tx) for _ in range(100)]

    assert seen == sorted(set(seen))


def test_the_clock_is_as_far_off_as_is_asked(database: Database) -> None:
    with database.transaction() as tx:
        before, then = clock.read(tx), tx.execute(select(now(-90.5))).scalar_one()
        after = clock.read(tx)

    assert before <= then + timedelta(seconds=90.5) <= after


@pytest.mark.parametrize(("offset", "expected"), [(-1e12, datetime.min), (1e12, datetime.max)])
def test_sqlite_stops_at_the_first_and_the_last_time_that_there_are(
    sqlite_database: Database, offset: float, expected: datetime
) -> None:
    with sqlite_database.transaction() as tx:
        assert tx.execute(select(now(offset))).scalar_one() == expected.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "at", [AT, AT.astimezone(timezone(timedelta(hours=9))), AT.replace(microsecond=0)]
)
def test_a_time_among_rows_arrives_as_it_was(database: Database, at: datetime) -> None:
    given = rows(Column("at", UtcDateTime))
    with database.transaction() as tx:
        found = tx.execute(select(given.c.at), {"rows": pack([(at,), (None,)])}).scalars().all()

    assert found == [at, None]
