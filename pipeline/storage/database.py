"""Opening a database and its transactions: Postgres by psycopg 3, or SQLite as an embedded home."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as SqlTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from pipeline.errors import CodeOutdated, ConfigurationError, SchemaOutdated
from pipeline.storage.sql import teach_sqlite

log = logging.getLogger(__name__)

#: A transaction in progress. Stages hand it to the queries in this package and do nothing else with it.
Tx = Connection

#: SQLSTATE classes that pass: connection, rollback (deadlock), resources, operator intervention.
_TRANSIENT = ("08", "40", "53", "57")

#: A server that died, or a network that swallows, is noticed in 10 to 25 s rather than in a
#: quarter of an hour: a renewal of leases that hangs lets go of work that is well.
_POSTGRES_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that a database has: its revision (None: it is empty), and the schemas that code may
    have been written for and work on it."""

    revision: str | None
    serves: frozenset[str]

    @property
    def is_newer(self) -> bool:
        """Whether it was made by code that is newer than this."""
        return self.revision is not None and self.revision not in _known_schemas()

    @property
    def serves_this_code(self) -> bool:
        wanted = wanted_schema()
        return self.revision == wanted or (self.is_newer and wanted in self.serves)


@contextmanager
def whole_tables(tx: Tx) -> Iterator[None]:
    """What is asked for meanwhile compares whole tables: nothing is looked up row by row.

    Postgres takes a status that its statistics have not met for one that hardly any order has, and
    then goes through all lines for each order: with 5,000 orders 13 s, where 0.1 is needed.
    """
    if tx.dialect.name == "sqlite":
        yield
        return
    tx.execute(text("SET LOCAL enable_nestloop = off"))
    yield
    tx.execute(text("SET LOCAL enable_nestloop = DEFAULT"))


class Database:
    """A pool of connections to one database.

    `url` is an SQLAlchemy URL; `postgresql://` means psycopg 3.
    """

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigurationError(
                "ORDERMILL_DATABASE_URL is no URL; expected postgresql://… or sqlite:///…"
            ) from None
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.url = parsed
        self._before_commit: Callable[[Tx], None] | None = None
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.engine = create_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=False,  # a broken connection costs one retried batch, a ping costs every one
            pool_use_lifo=True,
            hide_parameters=True,  # an error's text is logged, and orders are people's
            connect_args={} if self.is_sqlite else _POSTGRES_CONNECTION,
        )
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        else:
            event.listen(self.engine, "connect", _configure_postgres)

    def guarded(self, before_commit: Callable[[Tx], None]) -> Database:
        """The same pool, for one whose right to write may end: each of its transactions calls
        `before_commit` last, and is rolled back if that raises."""
        guarded = copy.copy(self)
        guarded._before_commit = before_commit
        return guarded

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Read and write; commits at the end of the block, rolls back on an exception."""
        with self.engine.begin() as tx:
            yield tx
            if self._before_commit is not None:
                self._before_commit(tx)

    @contextmanager
    def snapshot(self) -> Iterator[Tx]:
        """Read only, all statements at one moment: what an audit or a report needs."""
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self.engine.connect().execution_options(read_only=True, **options) as tx:
            yield tx
            tx.rollback()

    def is_disconnect(self, error: BaseException) -> bool:
        """Whether `error` says that the database was away, restarted or too busy: worth the same again."""
        if isinstance(error, (DisconnectionError, SqlTimeoutError)):
            return True
        if not isinstance(error, DBAPIError):
            return False
        sqlstate = getattr(error.orig, "sqlstate", None) or ""
        return (
            error.connection_invalidated
            or isinstance(error.orig, OSError)
            or sqlstate.startswith(_TRANSIENT)
            or (isinstance(error, OperationalError) and not sqlstate)
        )

    def schema_version(self) -> str | None:
        """The revision the database is at; None for an empty one."""
        with self.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def schema(self) -> Schema:
        """The revision the database is at, and the code that it serves."""
        with self.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
            if not inspect(connection).has_table("schema_serves"):  # it is older than 0017
                return Schema(revision, frozenset())
            served = connection.execute(text("SELECT code_schema FROM schema_serves"))
            return Schema(revision, frozenset(served.scalars()))

    def upgrade(self) -> None:
        """Bring the schema to what this version needs, and let it name the code that it serves. A
        newer one stays as it is; CodeOutdated if it doesn't serve this code."""
        if (found := self.schema()).is_newer:
            _require(found)
            return
        with self.engine.begin() as connection:
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.execute(text("DELETE FROM schema_serves"))
            connection.execute(
                text("INSERT INTO schema_serves (code_schema) VALUES (:served)"),
                [{"served": each} for each in _served_by_the_newest()],
            )

    def require_schema(self) -> None:
        """Raise SchemaOutdated or CodeOutdated unless this code may work on the schema: it was written
        for it, or the schema names it."""
        if self.schema_version() != wanted_schema():
            _require(self.schema())

    def wait_until_there(self, patience: float) -> None:
        """Wait for a server that is starting or restarting, up to `patience` seconds; then raise."""
        give_up = time.monotonic() + patience
        while True:
            try:
                with self.engine.connect():
                    return
            except Exception as error:
                if not self.is_disconnect(error) or time.monotonic() > give_up:
                    raise
                log.warning("waiting for the database: %s", type(error).__name__)
                time.sleep(1.0)

    def close(self) -> None:
        self.engine.dispose()


def _require(found: Schema) -> None:
    if found.serves_this_code:
        return
    if found.is_newer:
        raise CodeOutdated(found.revision or "", wanted_schema(), sorted(found.serves))
    raise SchemaOutdated(found.revision, wanted_schema())


@cache
def wanted_schema() -> str:
    """The revision that this version of the code was written for."""
    return _scripts().get_current_head() or "nothing"


@cache
def _known_schemas() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _served_by_the_newest() -> tuple[str, ...]:
    served: tuple[str, ...] = _scripts().get_revision(wanted_schema()).module.serves
    return served


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_alembic())


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _configure_sqlite(connection: Any, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we write BEGIN ourselves, below
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=30000",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    teach_sqlite(connection)


def _configure_postgres(connection: Any, _record: ConnectionPoolEntry) -> None:
    # A host that froze in the middle of a transaction must let go of its locks. And the last day of
    # 9999 is in the year 10000 east of Greenwich: psycopg can't read a time in a zone where it is.
    connection.execute("SET idle_in_transaction_session_timeout = '30s'; SET TIME ZONE 'UTC'")
    connection.commit()


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that turns writer halfway fails at once when another has written;
    # IMMEDIATE waits its turn instead. Readers (snapshots) don't queue behind writers.
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
