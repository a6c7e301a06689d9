"""roll-up-counters: older counters become a row an hour, then a row a day; no order is lost on the way."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select

from pipeline.storage import clock
from pipeline.storage.database import Database
from pipeline.storage.tables import counters
from scheduler.jobs.roll_up_counters import roll_up_counters

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def today(database: Database) -> datetime:
    """Midnight, by the database's clock."""
    with database.snapshot() as tx:
        return clock.read(tx).replace(hour=0, minute=0, second=0, microsecond=0)


def count(database: Database, *counted: tuple[datetime, str, str, int]) -> None:
    with database.transaction() as tx:
        fields = ("at", "step", "outcome", "orders")
        tx.execute(insert(counters), [dict(zip(fields, row, strict=True)) for row in counted])


def rolled_up(database: Database) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
    """What the job says, and all rows."""
    app: Any = SimpleNamespace(database=database)
    done = roll_up_counters(app)
    query = select(counters.c.at, counters.c.step, counters.c.outcome, counters.c.orders)
    with database.snapshot() as tx:
        found = tx.execute(query.order_by(*query.selected_columns))
        return done, [tuple(row) for row in found]


def test_after_two_days_there_is_one_row_an_hour_step_and_outcome(
    database: Database, today: datetime
) -> None:
    nine = today - 4 * DAY + 9 * HOUR
    count(
        database,
        (nine, "pay", "advanced", 1),
        (nine + MINUTE, "pay", "advanced", 10),
        (nine + 59 * MINUTE, "pay", "advanced", 100),
        (nine + MINUTE, "pay", "held", 2),
        (nine + MINUTE, "price", "advanced", 3),
        (nine + 60 * MINUTE, "pay", "advanced", 4),
    )

    done, rows = rolled_up(database)

    assert rows == [
        (nine, "pay", "advanced", 111),
        (nine, "pay", "held", 2),
        (nine, "price", "advanced", 3),
        (nine + HOUR, "pay", "advanced", 4),
    ]
    assert done == {"went": 5, "came": 3}


def test_younger_ones_stay_as_they_are(database: Database, today: datetime) -> None:
    young = [(today - DAY + n * MINUTE, "pay", "advanced", 1) for n in (1, 2)]
    count(database, *young)

    assert rolled_up(database) == ({"went": 0, "came": 0}, young)


def test_after_ninety_days_there_is_one_row_a_day(database: Database, today: datetime) -> None:
    day = today - 95 * DAY
    count(database, *((day + n * HOUR, "pay", "advanced", 10) for n in range(24)))
    count(database, (day + DAY, "pay", "advanced", 1), (day + 5 * HOUR, "pay", "held", 1))

    _, rows = rolled_up(database)

    assert rows == [
        (day, "pay", "advanced", 240),
        (day, "pay", "held", 1),
        (day + DAY, "pay", "advanced", 1),
    ]


def test_twice_is_once(database: Database, today: datetime) -> None:
    for age in (3, 95):
        count(database, *((today - age * DAY + n * MINUTE, "pay", "held", 7) for n in range(90)))
    _, first = rolled_up(database)

    again = rolled_up(database)

    assert again == ({"went": 0, "came": 0}, first)
    assert sum(row[3] for row in first) == 2 * 90 * 7
