"""The overview: what needs a person, what waits where, who works; never by counting orders."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from pipeline import operations, overview
from pipeline.overview import series
from pipeline.source import Policy
from pipeline.storage import counters, processes
from pipeline.storage.database import Database
from pipeline.storage.selection import _HELD
from pipeline.storage.sql import now
from pipeline.storage.tables import processes as table
from tests.support import Mill

FRANCE = {"country": "FR", "postal_code": "75001"}


def test_what_is_on_hold_is_told_by_reason_and_gone_once_it_is_requeued(
    mill: Callable[..., Mill],
) -> None:
    shop = mill(policy=Policy(hold_countries=frozenset({"FR"}))).stocked()
    ids = [shop.accept(ship_to=FRANCE) for _ in range(3)]
    shop.accept()
    shop.turn()

    with shop.database.transaction() as tx:
        before = overview.held(tx)
        operations.requeue(tx, ids[:2], "operator:ada")
        after = overview.held(tx)

    assert [(each.reason, each.orders) for each in before] == [("country_held", 3)]
    assert before[0].means == "its country is among its source's hold_countries"
    assert [(each.reason, each.orders) for each in after] == [("country_held", 1)]


def test_on_hold_is_read_from_its_index_alone(postgres_database: Database) -> None:
    query = str(_HELD.compile(postgres_database.engine))
    with postgres_database.transaction() as tx:
        tx.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(tx.execute(text(f"EXPLAIN {query}")).scalars())

    assert "ix_orders_held" in plan


def test_a_process_tells_what_it_does_and_which_gateway_it_leaves_alone(
    database: Database,
) -> None:
    doing = [
        {"step": "pay", "orders": 7, "seconds": 0.4}, {"gateway": "stripe", "breaker": "open"},
    ]  # fmt: skip
    with database.transaction() as tx:
        processes.seen(tx, "1", "worker", "mill-1", 17, json.dumps(doing))
        seen = overview.look(tx)

    [process] = seen.processes
    assert (process.doing, process.breakers) == (doing[:1], ["stripe"])
    assert (seen.breakers, list(seen.missing)) == (["stripe"], ["scheduler"])


@pytest.mark.parametrize(
    ("silent", "successor", "listed"),
    [
        (5.0, None, [True]),  # it may be slow
        (60.0, None, [False]),
        (60.0, ("worker", "mill-1"), [True]),  # it was started again
        (60.0, ("worker", "mill-2"), [True, False]),  # that is another
        (60.0, ("scheduler", "mill-1"), [True, False]),
        (600.0, None, []),
    ],
)
def test_a_process_that_is_gone_leaves_the_list_when_it_is_replaced_or_after_five_minutes(
    database: Database, silent: float, successor: tuple[str, str] | None, listed: list[bool]
) -> None:
    with database.transaction() as tx:
        processes.seen(tx, "1", "worker", "mill-1", 17, "[]")
        tx.execute(update(table).values(started_at=now(-silent), seen_at=now(-silent)))
        if successor is not None:
            processes.seen(tx, "2", *successor, 18, "[]")
        seen = overview.all_processes(tx)

    assert sorted((process.alive for process in seen), reverse=True) == listed


def test_counters_are_told_by_the_minute_and_by_the_hour(database: Database) -> None:
    with database.transaction() as tx:
        counters.add(tx, "pay", {"advanced": 5, "held": 2, "retried": 9})
        counters.add(tx, "pay", {"advanced": 1})
        moment = overview.look(tx).at
        yesterday = moment - timedelta(days=1)
        minute = counters.history(tx, "minute", yesterday)
        hour = counters.history(tx, "hour", yesterday)

    for history, count, unit in (
        (minute, 60, timedelta(minutes=1)),
        (hour, 24, timedelta(hours=1)),
    ):
        told = series(history, moment, count, unit, "pay")
        assert (sum(told.through), sum(told.failed)) == (6, 2)
        assert len(told.at) == count


def test_a_series_has_every_unit_and_the_one_that_is_going_on() -> None:
    now = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
    noon = now.replace(second=0)
    history = {(noon, "pay", "advanced"): 3, (noon - timedelta(minutes=2), "pay", "rejected"): 1}

    told = series(history, now, 3, timedelta(minutes=1), "pay")

    assert told.at == [noon - timedelta(minutes=2), noon - timedelta(minutes=1), noon]
    assert (told.through, told.failed) == ([0, 0, 3], [1, 0, 0])
