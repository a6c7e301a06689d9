"""What stands beside and before a Postgres: standbys, a pooler, somebody's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from sqlalchemy import Connection, text

from pipeline.storage import feed
from pipeline.storage.database import Database

#: As `Check` has it: name, level, what was found, what to do about it.
Found = tuple[str, Literal["ok", "warning", "error"], str, str]

#: Transactions on each of two connections, before we say that a pooler swaps none of them.
LOOKS = 4
#: Seconds that a transaction may hold the feed back before it is told.
HELD_BACK = 30.0


def look(database: Database) -> Iterator[Found]:
    """Each thing to know or to mend."""
    yield _pooler(database)
    with database.snapshot() as tx:
        yield from _writes(tx)
        yield from _standbys(tx, follows_others=len(database.hosts) > 1)
        yield from _held_back(tx)


def _pooler(database: Database) -> Found:
    """Whether something stands between us and the server. It makes up the number by which a connection
    can be cancelled; and in transaction mode one of the server's serves several of ours in turn."""
    with database.engine.connect() as one, database.engine.connect() as two:
        served = [(_server_of(one), _server_of(two)) for _ in range(LOOKS)]
        known: Any = one.connection.dbapi_connection
        is_direct = known.info.backend_pid == served[0][0]
    of_one, of_two = ({pair[n] for pair in served} for n in (0, 1))
    if of_one & of_two or len(of_one) > 1:
        said = "one in transaction mode is in between: statements are plain, and nothing needs a session"
    elif is_direct:
        said = "none is in between"
    else:
        said = (
            "one is in between, by which each connection kept its own server: in session mode, or in "
            "transaction mode at rest, which can't be told apart. Both are right"
        )
    return "pooler", "ok", said, ""


def _server_of(connection: Connection) -> int:
    """Which of the server's processes a transaction was done by."""
    found = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    connection.rollback()
    return found


def _writes(tx: Connection) -> Iterator[Found]:
    if _setting(tx, "transaction_read_only") == "on":
        yield (
            "postgres", "error",
            "takes no writes: it is a standby, or default_transaction_read_only is on",
            "let ORDERMILL_DATABASE_URL lead to the primary (several hosts may be named), or find "
            "out who guards it from writes: is its disk full?",
        )  # fmt: skip


# A role that may not look sees rows without contents.
_STANDBYS = text("""
    SELECT count(*) AS all,
           count(*) FILTER (WHERE state IS NULL) AS unseen,
           count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS waited_for
    FROM pg_stat_replication
    WHERE state IS DISTINCT FROM 'backup'
""")


def _standbys(tx: Connection, *, follows_others: bool) -> Iterator[Found]:
    found = tx.execute(_STANDBYS).one()
    names, commit = (_setting(tx, n) for n in ("synchronous_standby_names", "synchronous_commit"))
    if not names or commit in ("local", "off"):
        if found.all or follows_others:
            yield (
                "standby", "warning",
                "is asynchronous: if it takes over when the primary dies, the newest accepted "
                "orders are lost",
                "name it in synchronous_standby_names, with synchronous_commit = on (of two "
                "standbys ANY 1, so that one may be away)",
            )  # fmt: skip
    elif not found.unseen and not found.waited_for:
        yield (
            "standby", "error",
            f"is away: every commit waits for one of {names}",
            "bring a standby back, or take it out of synchronous_standby_names",
        )  # fmt: skip


def _held_back(tx: Connection) -> Iterator[Found]:
    writer = feed.oldest_writer(tx)
    if writer is not None and writer.seconds > HELD_BACK:
        who = f"{writer.role} ({writer.application or 'no name'}, process {writer.pid})"
        yield (
            "feed", "warning",
            f"and webhooks wait for a transaction of {who}, open for {writer.seconds:.0f} s: "
            "nothing newer is told before it ends",
            f"let it end, or SELECT pg_terminate_backend({writer.pid})",
        )  # fmt: skip


def _setting(tx: Connection, name: str) -> str:
    return str(tx.execute(text(f"SHOW {name}")).scalar_one())
