"""Postgres by psycopg 3: its address in any form that libpq reads, its connections, what of its errors passes.

Nothing here or elsewhere leans on a session: a pooler may give each transaction another connection
of the server's. Settings are those of the transaction, and statements are not prepared.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from psycopg import Error, ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.generators import execute
from psycopg.pq import Conninfo, TransactionStatus
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    RootTransaction,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from pipeline.errors import ConfigurationError, MaybeDone
from pipeline.redaction import redact
from pipeline.typed import is_digits

log = logging.getLogger(__name__)

DRIVER = "postgresql+psycopg"

#: SQLSTATEs, whole or by their class, of what passes and is nobody's fault who asked: connection,
#: read only (a server that was demoted, or is guarded as its disk is full), a time limit in a
#: transaction, rollback (deadlock), resources (disk, memory, connections), a lock that wasn't to be
#: had in time, operator intervention, the server's own disk.
_PASSES = ("08", "25006", "25P03", "25P04", "40", "53", "55006", "55P03", "57", "58")

#: After these a connection is not used again: its server may have been demoted, or its session may
#: have begun under a setting that has been taken back since.
_ENDS_CONNECTION = ("08", "25006", "25P03", "25P04", "53", "55006", "55P03", "57P", "58")

#: After these no connection of the pool is: all lead to the server that said so.
_ENDS_ALL = ("08", "25006", "57P", "58")

#: A server that died, or a network that swallows, is noticed in 10 to 25 s rather than in a
#: quarter of an hour: a renewal of leases that hangs lets go of work that is well.
_OPTIONS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

#: Read from the URL, or else from its query: never shown.
_SECRET = ("password", "sslpassword", "passfile", "oauth_client_secret")

# A host that froze in the middle of a transaction must let go of its locks. And the last day of 9999
# is in the year 10000 east of Greenwich: psycopg can't read a time in a zone where it is. Both are
# set with the BEGIN, in one message.
_BEGIN = (
    "BEGIN ISOLATION LEVEL {}; "
    "SET LOCAL idle_in_transaction_session_timeout = '30s'; SET LOCAL TimeZone = 'UTC'"
)
_BEGIN_WRITING = _BEGIN.format("READ COMMITTED")
_BEGIN_SNAPSHOT = _BEGIN.format("REPEATABLE READ")


def passes(sqlstate: str) -> bool:
    """Whether what failed with this SQLSTATE is worth trying again."""
    return sqlstate.startswith(_PASSES)


def is_address(given: str) -> bool:
    """Whether this is meant to lead to a Postgres: by a URL, or in libpq's `host=… dbname=…`."""
    return bool(re.match(r"postgres(ql)?(\+psycopg)?://|\s*\w+\s*=", given))


def parse(given: str) -> URL:
    """The address as a URL of SQLAlchemy's. ConfigurationError doesn't repeat it: it has a password."""
    url = _by_sqlalchemy(given) or _by_libpq(given)
    if any("@" in host for host in hosts(url)):
        raise _wrong("its password has an @ in it: write that as %40")
    for port in filter(None, str(url.query.get("port", "")).split(",")):
        if not is_digits(port):
            raise _wrong("its port is no number (a / in the password is written as %2F)")
    if unknown := sorted(url.query.keys() - _known_options()):
        raise _wrong(f"libpq knows no option {unknown[0]!r}")
    if "target_session_attrs" not in url.query and len(hosts(url)) > 1:
        url = url.update_query_dict({"target_session_attrs": "read-write"})
    return url


def _by_sqlalchemy(given: str) -> URL | None:
    """None if it has a form that only libpq knows."""
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        return None
    if re.search(r"[,%\]]", url.host or ""):
        return None
    return _without_secrets_in_query(url.set(drivername=DRIVER))


def _by_libpq(given: str) -> URL:
    try:
        found = conninfo_to_dict(re.sub(r"^(postgres(ql)?)\+psycopg:", r"\1:", given))
    except ProgrammingError:
        raise _wrong(
            "expected postgresql://user:password@host:port/name, with several hosts separated by "
            "commas, or `host=… port=… dbname=… user=… password=…`"
        ) from None
    known = {name: str(value) for name, value in found.items() if value is not None}
    url = URL.create(
        DRIVER,
        username=known.pop("user", None),
        password=known.pop("password", None),
        database=known.pop("dbname", None),
        query=known,
    )
    return _without_secrets_in_query(url)


def _without_secrets_in_query(url: URL) -> URL:
    given = url.query.get("password")
    if isinstance(given, str):
        url = url.set(password=given).difference_update_query(["password"])
    return url


@cache
def _known_options() -> frozenset[str]:
    return frozenset(option.keyword.decode() for option in Conninfo.get_defaults())


def hosts(url: URL) -> list[str]:
    """The hosts that the address names."""
    named = url.query.get("host", url.host or "")
    return named.split(",") if isinstance(named, str) else list(named)


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(f"ORDERMILL_DATABASE_URL can't be read: {why}")


def shown(url: URL) -> str:
    """The address without what is secret in it."""
    secret = {name: "***" for name in _SECRET if name in url.query}
    return url.update_query_dict(secret).render_as_string(hide_password=True)


def engine_options(url: URL, application: str) -> dict[str, Any]:
    """What SQLAlchemy is told: we have no hstore, so nobody asks the server for its type."""
    return {"use_native_hstore": False, "connect_args": connect_options(url, application)}


def connect_options(url: URL, application: str) -> dict[str, Any]:
    """What psycopg is told beside the address; what the address itself says is left as it is."""
    options = {**_OPTIONS, "fallback_application_name": application}
    ours = {name: value for name, value in options.items() if name not in url.query}
    # A pooler hands one connection of the server's from client to client: a statement that one
    # has prepared is unknown to the next, or is another's under the same name.
    return {**ours, "prepare_threshold": None, "autocommit": True}  # we write BEGIN ourselves


def configure(engine: Engine) -> None:
    """Let transactions begin, and connections end, as this module says."""
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _end_connections)


#: "ordermill", as a number: who else takes the lock of that number is not to be expected.
_TURN = 0x6F726D6C


def wait_for_turn(tx: Connection) -> None:
    """Until the end of its transaction nobody else comes past here. However long that takes: a limit
    that the role has for locks or statements is one for traffic."""
    limits = ("lock_timeout", "statement_timeout")
    for limit in limits:
        tx.exec_driver_sql(f"SET LOCAL {limit} = 0")
    tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")
    for limit in limits:
        tx.exec_driver_sql(f"SET LOCAL {limit} = DEFAULT")


#: Seconds for a server that was lost in the middle of a COMMIT to be there again.
LOOK_FOR = 30.0
#: It changes when a standby takes over.
_TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
_WHICH = f"SELECT xid IS NOT NULL, xid::text, {_TIMELINE} FROM pg_current_xact_id_if_assigned() xid"  # noqa: S608 - nothing of anybody's is in it


@contextmanager
def certain(engine: Engine, passes_by: Callable[[BaseException], bool]) -> Iterator[Connection]:
    """A transaction that is looked up if its COMMIT got no answer: then it was done, or was not.
    MaybeDone where the server can't tell."""
    with engine.connect() as tx:
        with _begun(tx) as transaction:
            yield tx
            wrote, xid, timeline = tx.exec_driver_sql(_WHICH).one()
        try:
            transaction.commit()
        except DBAPIError as error:
            if not passes_by(error):
                raise
            fate = _fate(engine, xid, timeline, passes_by) if wrote else "committed"
            if fate == "aborted":
                raise
            if fate != "committed":
                raise MaybeDone(redact(str(error.orig)).strip()) from error
            log.warning("the answer to a COMMIT was lost: it was done")


@contextmanager
def _begun(tx: Connection) -> Iterator[RootTransaction]:
    """A transaction that is left open, unless the block raises."""
    transaction = tx.begin()
    try:
        yield transaction
    except BaseException:  # only to roll back; it is raised again
        transaction.rollback()
        raise


def _fate(
    engine: Engine, xid: str, timeline: str, passes_by: Callable[[BaseException], bool]
) -> str | None:
    """What became of a transaction: committed, aborted; None if nobody knows. A server that took over
    may have given its number to another."""
    give_up = time.monotonic() + LOOK_FOR
    while time.monotonic() < give_up:
        try:
            with engine.connect() as tx:
                if tx.exec_driver_sql(f"SELECT {_TIMELINE}").scalar_one() != timeline:
                    return None
                found = tx.exec_driver_sql(f"SELECT pg_xact_status('{xid}'::xid8)").scalar_one()
            if found != "in progress":
                return None if found is None else str(found)
        except DBAPIError as error:
            if not passes_by(error):
                return None
        time.sleep(0.5)
    return None


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    begin = _BEGIN_SNAPSHOT if options.get("read_only") else _BEGIN_WRITING
    if not _sent(connection, begin):
        connection.exec_driver_sql(begin)  # raises as SQLAlchemy does, and ends what is broken


def _sent(connection: Connection, statement: str) -> bool:
    """Send it without a cursor, as psycopg does with its own BEGIN: every transaction begins here."""
    psycopg: Any = connection.connection.dbapi_connection
    try:
        psycopg.pgconn.send_query(statement.encode())
        psycopg.wait(execute(psycopg.pgconn))
    except Error:
        return False
    return bool(psycopg.pgconn.transaction_status == TransactionStatus.INTRANS)


def _end_connections(context: ExceptionContext) -> None:
    sqlstate = getattr(context.original_exception, "sqlstate", None) or ""
    if context.connection is not None and sqlstate.startswith(_ENDS_CONNECTION):
        if not context.is_disconnect:
            context.invalidate_pool_on_disconnect = sqlstate.startswith(_ENDS_ALL)
        context.is_disconnect = True
