"""A database that is read-only, locked or full for a while: what is asked meanwhile is asked again. It
is no order's fault, and no message's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg import errors as pg
from sqlalchemy import text
from starlette.testclient import TestClient

from pipeline import access
from pipeline.access import OF_SOURCES
from pipeline.assembly import Application, assemble
from pipeline.settings import Settings
from pipeline.storage.database import Database
from scheduler.table import JOBS
from tests.support import Mill, an_order
from web.app import create_app
from workers.actors import declare_actors
from workers.broker import make_broker

HELD = "SELECT count(*) FROM orders WHERE status = 'on_hold'"


class Silent:
    def announce(self, step: str, dispatch_id: int) -> None: ...


@pytest.fixture
def operator(postgres_database: Database) -> Iterator[Callable[[str], None]]:
    """Sets what the database's own operator sets for all new connections, and takes it back."""

    def run(setting: str) -> None:
        with postgres_database.engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            raw.execute(f"ALTER ROLE CURRENT_USER {setting}")

    yield run
    run("RESET ALL")


@pytest.fixture
def another(
    postgres_database: Database, operator: Callable[[str], None]
) -> Iterator[Callable[[], Database]]:
    """Opens the database anew, with what was set for it by then."""
    opened = []

    def open_it() -> Database:
        opened.append(Database(postgres_database.url.render_as_string(hide_password=False)))
        return opened[-1]

    yield open_it
    for database in opened:
        database.close()


@contextmanager
def locked(database: Database, statement: str) -> Iterator[Callable[[], None]]:
    """Until the end of the block, or until it is let go, somebody else holds these locks."""
    with database.engine.connect() as other:
        other.execute(text(statement))
        yield other.rollback


def _backend(database: Database) -> int:
    with database.transaction() as tx:
        return int(tx.execute(text("SELECT pg_backend_pid()")).scalar_one())


@pytest.mark.parametrize(
    "error",
    [
        pg.ReadOnlySqlTransaction, pg.LockNotAvailable, pg.QueryCanceled, pg.DeadlockDetected,
        pg.SerializationFailure, pg.DiskFull, pg.OutOfMemory, pg.TooManyConnections,
        pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.IdleInTransactionSessionTimeout,
        pg.TransactionTimeout, pg.ObjectInUse, pg.IoError, pg.SystemError, pg.ConnectionFailure,
    ],
    ids=lambda error: error.sqlstate,
)  # fmt: skip
def test_what_is_the_servers_fault_is_worth_asking_again(
    postgres_database: Database, error: type[pg.Error]
) -> None:
    raised = f"DO $$ BEGIN RAISE 'tried' USING ERRCODE = '{error.sqlstate}'; END $$"

    with pytest.raises(Exception) as found, postgres_database.transaction() as tx:  # noqa: PT011
        tx.exec_driver_sql(raised)

    assert postgres_database.is_disconnect(found.value)


@pytest.mark.parametrize(
    "error", [pg.UniqueViolation, pg.UndefinedTable, pg.NumericValueOutOfRange]
)
def test_what_is_the_asks_own_fault_is_not(
    postgres_database: Database, error: type[pg.Error]
) -> None:
    before = _backend(postgres_database)
    raised = f"DO $$ BEGIN RAISE 'tried' USING ERRCODE = '{error.sqlstate}'; END $$"

    with pytest.raises(Exception) as found, postgres_database.transaction() as tx:  # noqa: PT011
        tx.exec_driver_sql(raised)

    assert not postgres_database.is_disconnect(found.value)
    assert _backend(postgres_database) == before


def test_a_server_that_may_not_write_any_more_is_left_by_all_connections(
    postgres_database: Database,
    another: Callable[[], Database],
    operator: Callable[[str], None],
) -> None:
    operator("SET default_transaction_read_only = on")
    database = another()
    with database.engine.connect() as one, database.engine.connect() as two:
        pids = {int(c.execute(text("SELECT pg_backend_pid()")).scalar_one()) for c in (one, two)}
    operator("RESET default_transaction_read_only")

    with pytest.raises(Exception) as refused, database.transaction() as tx:  # noqa: PT011
        tx.execute(text("DELETE FROM orders"))

    assert database.is_disconnect(refused.value)
    with database.engine.connect() as one, database.engine.connect() as two:
        for connection in (one, two):
            assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() not in pids
            connection.execute(text("DELETE FROM orders"))


def test_read_only_in_a_savepoint_ends_the_connection_too(
    another: Callable[[], Database], operator: Callable[[str], None]
) -> None:
    operator("SET default_transaction_read_only = on")
    database = another()
    _backend(database)
    operator("RESET default_transaction_read_only")

    with (
        pytest.raises(Exception) as refused,  # noqa: PT011
        database.transaction() as tx,
        tx.begin_nested(),
    ):
        tx.execute(text("DELETE FROM orders"))

    assert database.is_disconnect(refused.value)
    with database.transaction() as tx:
        tx.execute(text("DELETE FROM orders"))


@pytest.mark.parametrize(
    "lock",
    [
        "SELECT * FROM stock_levels FOR UPDATE",
        "LOCK TABLE orders IN SHARE MODE",
        "LOCK TABLE payment_operations IN SHARE MODE",
    ],
)
def test_no_order_is_held_because_a_lock_was_not_to_be_had_in_time(
    postgres_database: Database,
    another: Callable[[], Database],
    operator: Callable[[str], None],
    lock: str,
) -> None:
    operator("SET lock_timeout = '50ms'")
    shop = Mill(another()).stocked()
    orders = [shop.accept() for _ in range(3)]

    with locked(postgres_database, lock) as let_go:
        threading.Timer(0.5, let_go).start()
        _work_patiently(shop)
    shop.expire_leases()
    shop.turn()

    assert [shop.status(order) for order in orders] == ["confirmed"] * 3
    assert shop.query(HELD) == [(0,)]


def _work_patiently(shop: Mill) -> None:
    try:
        shop.turn()
    except Exception as error:
        if not shop.database.is_disconnect(error):
            raise


@pytest.mark.parametrize(
    ("hinder", "free"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"),
    ],
    ids=["read-only", "full"],
)
def test_no_order_is_held_because_sqlite_took_no_writes(
    sqlite_database: Database, hinder: str, free: str
) -> None:
    def tell(pragma: str) -> None:
        with sqlite_database.engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            raw.execute(pragma)

    shop = Mill(sqlite_database).stocked()
    orders = [shop.accept() for _ in range(3)]

    tell(hinder)
    with pytest.raises(Exception) as refused:  # noqa: PT011, PT012
        for _ in range(200):  # a page may have room yet
            shop.accept()
    _work_patiently(shop)
    tell(free)
    shop.expire_leases()
    shop.turn()

    assert sqlite_database.is_disconnect(refused.value)
    assert {shop.status(order) for order in orders} == {"confirmed"}


@pytest.fixture
def application(postgres_database: Database, tmp_path: Path) -> Iterator[Callable[[], Application]]:
    made = []

    def make() -> Application:
        url = postgres_database.url.render_as_string(hide_password=False)
        settings = Settings(_env_file=None, home=tmp_path, database_url=url, sandbox_book="memory")  # type: ignore[call-arg]
        made.append(assemble(settings, Silent()))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.mark.parametrize(
    ("setting", "lock"),
    [
        ("default_transaction_read_only = on", "SELECT 1"),
        ("lock_timeout = '50ms'", "LOCK TABLE orders IN SHARE MODE"),
    ],
)
def test_http_says_come_again(
    postgres_database: Database,
    application: Callable[[], Application],
    operator: Callable[[str], None],
    setting: str,
    lock: str,
) -> None:
    Mill(postgres_database).stocked()
    with postgres_database.transaction() as tx:
        key = access.create(tx, "shop", "test", source="shop", scopes=OF_SOURCES, rate=1000)
    app = application()
    app.database.engine.dispose()  # whoever connects from now on has it
    operator(f"SET {setting}")
    headers = {"Authorization": f"Bearer {key}"}

    with TestClient(create_app(app, JOBS), raise_server_exceptions=False) as client:
        with locked(postgres_database, lock):
            refused = client.post("/v1/orders", json=an_order(), headers=headers)
        operator(f"RESET {setting.split()[0]}")
        accepted = client.post("/v1/orders", json=an_order(), headers=headers)

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert accepted.status_code == 202


def test_an_order_that_came_as_a_message_waits_for_a_database_that_is_read_only(
    postgres_database: Database,
    application: Callable[[], Application],
    operator: Callable[[str], None],
) -> None:
    Mill(postgres_database).stocked()
    app = application()
    app.database.engine.dispose()
    broker = make_broker("memory://", [])
    declare_actors(broker, app)
    accept_orders = broker.get_actor("accept_orders")
    operator("SET default_transaction_read_only = on")
    threading.Timer(0.5, operator, ["RESET default_transaction_read_only"]).start()

    accept_orders("shop", [an_order()])

    with postgres_database.snapshot() as tx:
        assert tx.execute(text("SELECT count(*) FROM orders")).scalar_one() == 1
