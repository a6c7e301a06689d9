"""Both homes for every test that asks: SQLite, and a real Postgres started from a wheel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks.servers import postgres, valkey
from pipeline.storage.database import Database
from pipeline.storage.tables import metadata
from tests.support import Mill


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres with our schema: the one the environment names, or one of our own."""
    given = os.environ.get("ORDERMILL_TEST_DATABASE_URL")
    if given:
        _upgrade(given)
        yield given
        return
    with postgres() as url:
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
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database with our schema, on each of the two homes in turn."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


@pytest.fixture
def sqlite_database(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    shutil.copy(sqlite_template, tmp_path / "ordermill.db")
    database = Database(f"sqlite:///{tmp_path / 'ordermill.db'}")
    yield database
    database.close()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    empty(database)
    yield database
    database.close()


def empty(database: Database) -> None:
    names = ", ".join(table.name for table in metadata.sorted_tables)
    with database.transaction() as tx:
        tx.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))


@pytest.fixture
def mill(database: Database) -> Callable[..., Mill]:
    """Makes a mill on the test's database: an engine driven step by step, without a broker."""
    return lambda **options: Mill(database, **options)
