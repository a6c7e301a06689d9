"""No statement's work grows faster than its rows, on either database.

Every statement that a module names is run over two sizes of a shop, and the work compares: steps of
SQLite's virtual machine, rows that pass through the nodes of Postgres' plan. Neither knows of a
clock. What is found to be quadratic here has cost minutes before: shipping 500 of 19,886 orders by a
file took 629 s on SQLite, as each reservation was compared with each line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select, text

from pipeline.storage.database import Database, Tx
from pipeline.storage.sql import rows
from pipeline.storage.tables import events, reservations
from pipeline.storage.upsert import InsertNew
from tests.storage.statements import (
    VALUES,
    Given,
    Statement,
    fill,
    is_insert,
    named_statements,
    work,
)

#: Rows of each table in a small shop and in a large one; rows that a statement is given at least.
SMALL, LARGE, GIVEN = 100, 400, 20
#: What four times as much may cost. Sorting takes a little more than four times as long; comparing
#: each row with each takes sixteen times.
LINEAR = 6.0
#: What a shop of four times the size may cost those who name their rows: an index is a step deeper.
FLAT = 1.4

STATEMENTS = named_statements()

#: Statements that are given rows, and read more than these; why that may be.
READ_MORE = {
    "dispatches._RENEW": "dispatches are few; an index on the lease would be written at each claim",
    "dispatches._WAITING_WITH": "reads the dispatches that wait, for a person or a cancellation",
    "erasure._ERASE_REFUSALS": "what was refused names no order: its texts are looked through",
    "erasure._ERASE_MESSAGES": "the same, for messages that can't be read: kept for a week",
    "erasure._ERASE_LOGS": "the same, for the logs of jobs, which are kept for thirty days",
    "orders._LOCK_HELD": "what is on hold, for a job; SQLite walks all orders, which come in order",
    "webhooks._RENEW": "endpoints are few",
    "webhooks._RELEASE": "endpoints are few",
}
#: Those that compare each with each, by their nature.
QUADRATIC = {
    "erasure._ERASE_REFUSALS": "looks for each address in each text",
    "erasure._ERASE_MESSAGES": "looks for each order's id in each text",
    "erasure._ERASE_LOGS": "looks for each address in each text",
}


@contextmanager
def a_shop(database: Database, size: int) -> Iterator[Tx]:
    """With so many rows in every table; gone in the end."""
    with database.engine.connect() as tx:
        if database.is_sqlite:
            driver: Any = tx.connection.driver_connection
            driver.execute("PRAGMA foreign_keys = OFF")
        else:
            tx.execute(text("SET LOCAL session_replication_role = replica"))
        fill(tx, size)
        yield tx
        tx.rollback()


def given(statement: Statement) -> Given:
    is_new = isinstance(statement, InsertNew)
    return Given(statement._statements["postgresql"] if is_new else statement)


def cost(database: Database, tx: Tx, statement: Statement, size: int, rows: int) -> int:
    first = size + 1 if is_insert(statement) else 1  # what is inserted isn't there yet
    return work(database, tx, statement, given(statement).values(rows, first))


@pytest.mark.timeout(600)  # four hundred statements, and a shop of 1,600 rows in each table
def test_four_times_as_many_rows_are_not_much_more_than_four_times_the_work(
    database: Database,
) -> None:
    compared = {name: each for name, each in STATEMENTS.items() if name not in QUADRATIC}

    steep = growing(database, compared, SMALL, LARGE)
    # Postgres takes another way where a table grows: what is steep is so from there on, too.
    steep = growing(database, {name: STATEMENTS[name] for name in steep}, LARGE, 4 * LARGE)

    assert steep == {}


def growing(
    database: Database, statements: Mapping[str, Statement], small: int, large: int
) -> dict[str, list[int]]:
    """Those whose work grows faster than the shop does, and their costs."""
    costs: dict[str, list[int]] = {name: [] for name in statements}
    for size in (small, large):
        with a_shop(database, size) as tx:
            for name, statement in statements.items():
                costs[name].append(cost(database, tx, statement, size, size))
    return {name: [a, b] for name, [a, b] in costs.items() if b > LINEAR * a}


def test_who_names_the_rows_reads_no_others(database: Database) -> None:
    named = {name: each for name, each in STATEMENTS.items() if given(each).lists}
    costs: dict[str, list[int]] = {name: [] for name in named}
    for size in (SMALL, LARGE):
        with a_shop(database, size) as tx:
            if not database.is_sqlite:
                # In a shop as small as this, it is right to read a table of two pages. The question
                # is whether there is another way, which is taken once it is larger.
                for way in ("seqscan", "hashjoin", "mergejoin"):
                    tx.execute(text(f"SET LOCAL enable_{way} = off"))
            for name, statement in named.items():
                costs[name].append(cost(database, tx, statement, size, GIVEN))

    grows = {name: (a, b) for name, (a, b) in costs.items() if b > FLAT * a}
    assert {name: it for name, it in grows.items() if name not in READ_MORE} == {}


def test_the_meters_know_a_quadratic_statement_and_a_scan_when_they_meet_one(
    database: Database,
) -> None:
    part = rows(reservations.c.order_id, reservations.c.sku)
    pairs = select(reservations).join(part, reservations.c.sku + "" == part.c.sku + "")
    if not database.is_sqlite:  # or it hashes, which isn't quadratic
        pairs = select(reservations).join(part, reservations.c.sku + "" >= part.c.sku + "")
    scan = select(events.c.order_id).where(events.c.actor == "nobody")
    costs: dict[str, list[int]] = {"pairs": [], "scan": []}
    for size in (SMALL, LARGE):
        with a_shop(database, size) as tx:
            costs["pairs"].append(cost(database, tx, pairs, size, size))
            costs["scan"].append(cost(database, tx, scan, size, 1))

    small, large = costs["pairs"]
    assert large > 2 * LINEAR * small
    small, large = costs["scan"]
    assert FLAT * small < large < LINEAR * small


@pytest.mark.parametrize("reasons", [READ_MORE, QUADRATIC])
def test_exceptions_are_of_statements_that_there_are(reasons: dict[str, Any]) -> None:
    assert reasons.keys() <= STATEMENTS.keys()
    assert len(VALUES) > 0
