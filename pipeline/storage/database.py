"""Opening a database and its transactions: Postgres by psycopg 3, or SQLite as an embedded home."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as SqlTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from pipeline.errors import ConfigurationError, MaybeDone
from pipeline.redaction import redact
from pipeline.storage import postgres, schema_version
from pipeline.storage.schema_version import Schema, wanted_schema
from pipeline.storage.sql import teach_sqlite

log = logging.getLogger(__name__)

#: A transaction in progress. Stages hand it to the queries in this package and do nothing else with it.
Tx = Connection

#: What a connection is called where nobody says it better.
APPLICATION = "ordermill"

#: Seconds that one waits for another who writes to SQLite; and for one who brings the schema up.
PATIENCE = 30
UPGRADE_PATIENCE = 3_600


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

    `url` is SQLite's as SQLAlchemy has it, or a Postgres address in any form that libpq reads. Its
    connections bear the name of `application`, unless `url` gives another.
    """

    def __init__(self, url: str, *, pool_size: int = 16, application: str = APPLICATION) -> None:
        self.url = _parse(url)
        self._before_commit: Callable[[Tx], None] | None = None
        self._looks_after_commit = False
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=False,  # a broken connection costs one retried batch, a ping costs every one
            pool_use_lifo=True,
            hide_parameters=True,  # an error's text is logged, and orders are people's
            **({} if self.is_sqlite else postgres.engine_options(self.url, application)),
        )
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        else:
            postgres.configure(self.engine)

    @property
    def hosts(self) -> list[str]:
        """The hosts that its address names."""
        return postgres.hosts(self.url)

    @property
    def shown(self) -> str:
        """Where it is, without what is secret in that."""
        return postgres.shown(self.url)

    def guarded(self, before_commit: Callable[[Tx], None]) -> Database:
        """The same pool, for one whose right to write may end: each of its transactions calls
        `before_commit` last, and is rolled back if that raises."""
        guarded = copy.copy(self)
        guarded._before_commit = before_commit
        return guarded

    def look_after_commit(self) -> None:
        """From now on a transaction whose COMMIT got no answer is looked up, before it counts as failed:
        for a person's command, which nobody repeats. It costs each transaction a statement."""
        self._looks_after_commit = not self.is_sqlite  # there no answer gets lost

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Read and write; commits at the end of the block, rolls back on an exception."""
        if self._looks_after_commit:
            with postgres.certain(self.engine, self.is_disconnect) as tx:
                yield from self._use(tx)
        else:
            with self.engine.begin() as tx:
                yield from self._use(tx)

    def _use(self, tx: Tx) -> Iterator[Tx]:
        yield tx
        if self._before_commit is not None:
            self._before_commit(tx)

    @contextmanager
    def snapshot(self) -> Iterator[Tx]:
        """Read only, all statements at one moment: what an audit or a report needs."""
        with self.engine.connect().execution_options(read_only=True) as tx:
            yield tx
            tx.rollback()

    def is_disconnect(self, error: BaseException) -> bool:
        """Whether `error` says that the database was away, restarted or too busy: worth the same again."""
        if isinstance(error, (DisconnectionError, SqlTimeoutError, MaybeDone)):
            return True
        if not isinstance(error, DBAPIError):
            return False
        sqlstate = getattr(error.orig, "sqlstate", None) or ""
        return (
            error.connection_invalidated
            or isinstance(error.orig, OSError)
            or postgres.passes(sqlstate)
            or (isinstance(error, OperationalError) and not sqlstate)
        )

    def schema_version(self) -> str | None:
        """The revision the database is at; None for an empty one."""
        with self.engine.connect() as connection:
            return schema_version.found(connection)

    def schema(self) -> Schema:
        """The revision the database is at, and the code that it serves."""
        with self.engine.connect() as connection:
            return schema_version.read(connection)

    def upgrade(self) -> None:
        """Bring the schema to what this version needs, and let it name the code that it serves. A
        newer one stays as it is; CodeOutdated if it doesn't serve this code. Of several at once one
        does it, and the others wait for its end."""
        from pipeline.storage import upgrade  # Alembic takes a tenth of a second to import

        with self._one_at_a_time() as connection:
            found = schema_version.read(connection)
            if found.is_newer:
                schema_version.require(found)
            else:
                upgrade.to_newest(connection)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[Connection]:
        """A transaction that waits for those that others have begun this way, however long they take."""
        with self.engine.connect() as connection:
            if self.is_sqlite:  # there one writes at a time
                _be_patient(connection, UPGRADE_PATIENCE)
            with connection.begin():
                if not self.is_sqlite:
                    postgres.wait_for_turn(connection)
                yield connection
            if self.is_sqlite:
                _be_patient(connection, PATIENCE)

    def require_schema(self) -> None:
        """Raise SchemaOutdated or CodeOutdated unless this code may work on the schema: it was written
        for it, or the schema names it."""
        if self.schema_version() != wanted_schema():
            schema_version.require(self.schema())

    def wait_until_there(self, patience: float) -> None:
        """Wait for a server that is starting or restarting, up to `patience` seconds; then raise. Each
        cause is logged once."""
        begun = time.monotonic()
        causes: set[str] = set()
        while True:
            try:
                with self.engine.connect():
                    break
            except Exception as error:  # an outage is waited for, all else is raised again
                if not self.is_disconnect(error) or time.monotonic() > begun + patience:
                    raise
                cause = redact(str(getattr(error, "orig", error))).strip()
                if cause not in causes:
                    log.warning("waiting for the database: %s", cause)
                causes.add(cause)
                time.sleep(1.0)
        if causes:
            log.warning("the database is there after %.0f s", time.monotonic() - begun)

    def close(self) -> None:
        self.engine.dispose()


def _parse(given: str) -> URL:
    if postgres.is_address(given):
        return postgres.parse(given)
    try:
        url = make_url(given)
        if url.get_backend_name() == "sqlite":
            return url
    except (ArgumentError, ValueError):
        pass
    raise ConfigurationError(
        "ORDERMILL_DATABASE_URL is no address of a database; expected postgresql://… or sqlite:///…"
    )


def _configure_sqlite(connection: Any, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we write BEGIN ourselves, below
    for pragma in (
        f"busy_timeout={1_000 * PATIENCE}",  # first, for what comes after it may have to wait
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    teach_sqlite(connection)


def _be_patient(connection: Connection, seconds: int) -> None:
    raw: Any = connection.connection.dbapi_connection
    raw.execute(f"PRAGMA busy_timeout = {1_000 * seconds}")


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that turns writer halfway fails at once when another has written;
    # IMMEDIATE waits its turn instead. Readers (snapshots) don't queue behind writers.
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
