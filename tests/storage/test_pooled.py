"""A pooler gives each transaction another connection of the server's: nothing of ours leans on a session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from pipeline import check_postgres
from pipeline.storage.database import Database
from tests.chaos import pooler
from tests.support import Mill

pytestmark = pytest.mark.skipif(not pooler.is_installed(), reason="needs pgbouncer")


@pytest.fixture(params=[1, 3])
def pooled(
    request: pytest.FixtureRequest, postgres_database: Database, postgres_url: str
) -> Iterator[Database]:
    """Behind a pooler in transaction mode, with so many connections to the server."""
    with pooler.pooler(postgres_url, size=request.param) as through:
        database = Database(through)
        yield database
        database.close()


def said_of_a_pooler(database: Database) -> str:
    [found] = [f for f in check_postgres.look(database) if f[0] == "pooler"]
    assert found[1] == "ok"
    return found[2]


def test_nobody_is_answered_by_anothers_statement(pooled: Database) -> None:
    def ask(name: str) -> list[str]:
        statement = text(f"SELECT '{name}' || CAST(:n AS integer)")
        with pooled.engine.connect() as connection:
            found = []
            for n in range(50):
                found.append(connection.execute(statement, {"n": n}).scalar_one())
                connection.rollback()
            return found

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, "abcd"))

    assert answers == [[f"{name}{n}" for n in range(50)] for name in "abcd"]


def test_orders_go_all_the_way(pooled: Database) -> None:
    shop = Mill(pooled).stocked()
    orders = [shop.accept() for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(shop.turn) for _ in range(4)]:
            done.result()
    shop.turn()

    assert [shop.status(order) for order in orders] == ["confirmed"] * 20


def test_settings_are_those_of_the_transaction(
    pooled: Database, postgres_database: Database
) -> None:
    with postgres_database.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.execute("ALTER ROLE CURRENT_USER SET TimeZone = 'Pacific/Kiritimati'")
    try:
        with pooled.transaction() as tx:
            latest = tx.execute(text("SELECT timestamptz '9999-12-31 23:59:59+00'")).scalar_one()
            idle = tx.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    finally:
        with postgres_database.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            raw.execute("ALTER ROLE CURRENT_USER RESET ALL")

    assert latest == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert idle == "30s"


def test_a_setting_of_ours_is_not_left_to_others(pooled: Database) -> None:
    with pooled.transaction() as tx:
        tx.execute(text("SELECT 1"))

    with pooled.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        assert raw.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)


def test_a_pooler_is_found(postgres_database: Database, postgres_url: str) -> None:
    with pooler.pooler(postgres_url) as through:
        database = Database(through)
        assert "in transaction mode" in said_of_a_pooler(database)
        database.close()
    with pooler.pooler(postgres_url, mode="session") as through:
        database = Database(through)
        assert "can't be told apart" in said_of_a_pooler(database)
        database.close()
    assert said_of_a_pooler(postgres_database) == "none is in between"


def test_each_connection_has_a_name(pooled: Database) -> None:
    with pooled.transaction() as tx:
        assert tx.execute(text("SHOW application_name")).scalar_one() == "ordermill"
