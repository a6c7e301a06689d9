"""Both homes for every test that asks: SQLite, and a real Postgres started from a wheel."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Dialect, Engine, create_engine, event

from benchmarks.servers import postgres, valkey
from pipeline.storage import database as storage
from pipeline.storage.database import Database
from pipeline.storage.tables import metadata
from tests.support import Mill


def pytest_configure() -> None:
    """A shell makes what it runs in the background ignore SIGINT, and so would every process that
    a test starts, and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


#: Where rules are those of SQL, locks, races and reconciliation: there each database is tried every time.
#: Elsewhere a rule lives in Python, and Postgres is tried in second gear (`make test-all`).
ON_BOTH_EVERY_TIME = tuple(
    f"tests/{each}"
    for each in (
        "audit/", "engine/", "inventory/", "retention/", "scheduler/", "stock_reconciliation/", "storage/",
        "payments/test_books.py", "payments/test_events.py", "webhooks/test_delivering.py",
        "webhooks/test_under_fire.py", "workers/",
    )
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before marks are looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is tried on SQLite and on Postgres alike goes into second gear on Postgres."""
    on_sqlite = {item.nodeid for item in items if _database_of(item) == "sqlite"}
    for item in items:
        name, _, parameters = item.nodeid.partition("[")
        is_twin = f"{name}[{parameters.replace('postgres', 'sqlite', 1)}" in on_sqlite
        if (
            _database_of(item) == "postgres"
            and is_twin
            and not item.nodeid.startswith(ON_BOTH_EVERY_TIME)
        ):
            item.add_marker(pytest.mark.second)


def _database_of(item: pytest.Item) -> object:
    chosen = getattr(item, "callspec", None)  # it has none without parameters
    return chosen.params.get("database") if chosen else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres with our schema: the one the environment names, or one of our own."""
    given = os.environ.get("ORDERMILL_TEST_DATABASE_URL")
    if given:
        _upgrade(given)
        yield given
        return
    # What dies in tests is a process, not the machine: nothing has to wait for the disk.
    with postgres(fsync="off") as url:
        _upgrade(url)
        yield url


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    given = os.environ.get("ORDERMILL_TEST_BROKER_URL")
    if given:
        yield given
        return
    with valkey() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    _upgrade(f"sqlite:///{path}")
    return path


def _upgrade(url: str) -> None:
    database = Database(url)
    database.upgrade()
    engine = database.engine  # its dialect knows by now what it talks to
    _compiled.setdefault(engine.dialect.name, (engine.dialect, {}))
    database.close()


_compiled: dict[str, tuple[Dialect, dict[Any, Any]]] = {}


@pytest.fixture(scope="session", autouse=True)
def _statements_are_compiled_once() -> Iterator[None]:
    """Whoever opens a database makes an engine, and an engine compiles its statements anew: that was
    half of what most tests took. What is compiled is kept by the dialect it is for."""

    def create(*arguments: Any, **options: Any) -> Engine:
        engine = create_engine(*arguments, **options)
        if engine.dialect.name in _compiled:
            engine.dialect, kept = _compiled[engine.dialect.name]
            engine.update_execution_options(compiled_cache=kept)
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "create_engine", create)
        yield


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database with our schema, on each of the two homes in turn."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


@pytest.fixture
def sqlite_database(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    shutil.copy(sqlite_template, tmp_path / "ordermill.db")
    database = Database(f"sqlite:///{tmp_path / 'ordermill.db'}")
    event.listen(database.engine, "connect", _without_syncing)
    yield database
    database.close()


def _without_syncing(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    empty(database)
    yield database
    database.close()


#: Truncating is dear by the table, deleting by the row: a test leaves few rows in few tables.
_EMPTY = """
DO $$
DECLARE its record;
BEGIN
    FOR its IN SELECT unnest(:names) AS name LOOP
        IF pg_relation_size(its.name::regclass) > 1000000 THEN
            EXECUTE 'TRUNCATE ' || its.name || ' CASCADE';
        ELSE
            EXECUTE 'DELETE FROM ' || its.name;
        END IF;
    END LOOP;
    PERFORM setval(seqrelid, 1, false) FROM pg_sequence;
END $$
"""


#: What the migrations themselves have written.
_OF_THE_SCHEMA = {"currencies", "schema_serves"}


def empty(database: Database) -> None:
    """A Postgres as its migrations left it: no rows of a shop, and ids from 1."""
    tables = [t.name for t in reversed(metadata.sorted_tables) if t.name not in _OF_THE_SCHEMA]
    names = ", ".join(f"'{name}'" for name in tables)
    with database.transaction() as tx:
        tx.exec_driver_sql(_EMPTY.replace(":names", f"ARRAY[{names}]"))


@pytest.fixture
def mill(database: Database) -> Callable[..., Mill]:
    """Makes a mill on the test's database: an engine driven step by step, without a broker."""
    return lambda **options: Mill(database, **options)
