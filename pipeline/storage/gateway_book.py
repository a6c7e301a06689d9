"""A gateway's own list as a temporary table, so that whatever compares it with ours is a query.

Read page by page into a file with no transaction open, and from there into a temporary table of
the transaction that asks: a list may be longer than memory, and a gateway slow.

Why rules may compare the gateway's own list with ours on a live system, where orders are paid
meanwhile. The list is read *before* the audit's snapshot is opened; and an operation is committed
as `requested`, then done by the gateway, then committed as `succeeded`.

- A line of the book was done before the snapshot, so the snapshot holds at least its request: what
  it doesn't hold is not ours. If it is `requested` still, its order must be where someone will ask.
- A `succeeded` row may be younger than the book. One that was written before the reading began
  (`book_read_at`, the database's clock) was done before, so the reading met it. Only those are
  asked for; the next audit asks for the others.
- What others do at the gateway (refund, dispute, pay late) is in its book before its events have
  been read. Such lines have a few minutes (`news_since`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import IO, Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    exists,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from pipeline.payments.account import OBSERVED
from pipeline.payments.gateway import BookEntry
from pipeline.storage.database import Tx
from pipeline.storage.sql import UtcDateTime, pack, rows
from pipeline.storage.tables import payment_operations as ops

PAGE = 5_000

book = Table(
    "gateway_book",
    MetaData(),
    Column("gateway", String(32)),
    Column("kind", String(12)),
    Column("key", String(128)),
    Column("reference", String(128)),
    Column("amount", BigInteger),
    Column("currency", String(3)),
    Column("at", BigInteger),  # microseconds since 1970, null if the gateway doesn't tell
    Column("fee", BigInteger),
    Column("parent", String(128)),
    Column("order_id", BigInteger),  # whose operation it is, null if it is none of ours
    prefixes=["TEMPORARY"],
    postgresql_with={"fillfactor": 45},  # room to write the orders in place
)


def at(name: str) -> ColumnElement[datetime]:
    """A moment that is bound."""
    return bindparam(name, type_=UtcDateTime())


_told = [column for column in book.c if column.key != "order_id"]
_INSERT = insert(book).from_select(_told, select(*rows(*_told).c))
# Here and once: operations have no index by key alone, and SQLite plans a join without one badly.
_FIND_ORDERS = (
    update(book)
    .where(
        book.c.order_id.is_(None),
        ops.c.key == book.c.key,
        ops.c.gateway == book.c.gateway,
        # What was done there by others was never requested: it was observed, or has their own name.
        or_(ops.c.state == "requested", ops.c.code == OBSERVED, ops.c.key == ops.c.reference),
    )
    .values(order_id=ops.c.order_id)
)
_FIND_RECENT = _FIND_ORDERS.where(ops.c.at >= at("asked_since"))
_IS_ANY_LEFT = select(exists(select(book.c.key).where(book.c.order_id.is_(None))))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    """Microseconds since 1970: times that both databases compare alike, without a type of theirs."""
    return (at - _EPOCH) // timedelta(microseconds=1)


class MomentOf(FunctionElement[datetime]):
    """The time that `micros` made a number of."""

    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, at: ColumnElement[int]) -> None:
        super().__init__(at)


@compiles(MomentOf, "postgresql")
def _moment_postgres(element: MomentOf, compiler: SQLCompiler, **kw: Any) -> str:
    at = compiler.process(element.clauses, **kw)
    return f"(timestamptz 'epoch' + {at} * interval '1 microsecond')"


@compiles(MomentOf, "sqlite")
def _moment_sqlite(element: MomentOf, compiler: SQLCompiler, **kw: Any) -> str:
    at = compiler.process(element.clauses, **kw)
    # As SQLAlchemy writes times; exactly, as windows begin and end with what was found before.
    whole = f"strftime('%Y-%m-%d %H:%M:%S', {at} / 1000000, 'unixepoch')"
    return f"({whole} || printf('.%06d', {at} % 1000000))"


#: Of a window [`since`, `until`), bound as `scope` of storage.reconciliation has it: what the
#: gateway lists in it, or lists without a time; and what we knew of in it.
is_listed_in_window = or_(
    book.c.at.is_(None),
    and_(book.c.at >= bindparam("since_micros"), book.c.at < bindparam("until_micros")),
)
is_known_in_window = and_(ops.c.at >= at("since"), ops.c.at < at("until"))


@contextmanager
def spooled(gateway: str, entries: Iterable[BookEntry]) -> Iterator[IO[str]]:
    """A file of the entries of `gateway`, one page of rows a line."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as pages:
        stream = iter(entries)
        while page := list(islice(stream, PAGE)):
            pages.write(pack(_row(gateway, entry) for entry in page) + "\n")
        pages.seek(0)
        yield pages


def _row(gateway: str, entry: BookEntry) -> tuple[Any, ...]:
    at = None if entry.at is None else micros(entry.at)
    return (
        gateway, entry.kind, entry.key, entry.reference, entry.amount, entry.currency, at, entry.fee,
        entry.parent,
    )  # fmt: skip


def load(tx: Tx, pages: Iterable[str], asked_since: datetime | None = None) -> None:
    """Make the table in `tx` of spooled pages, for `tx` only: its rollback takes it away.

    `asked_since` is when most of what is listed was asked for at the earliest: it spares the look
    through all operations there ever were, unless some line is not found otherwise.
    """
    book.create(tx, checkfirst=False)
    for page in pages:
        tx.execute(_INSERT, {"rows": page})
    tx.execute(text("CREATE INDEX gateway_book_by_key ON gateway_book (key)"))
    # Nobody else will: without it Postgres takes the book for small, and joins it row by row.
    tx.execute(text("ANALYZE gateway_book"))
    if asked_since is not None:
        tx.execute(_FIND_RECENT, {"asked_since": asked_since})
    if asked_since is None or tx.execute(_IS_ANY_LEFT).scalar_one():
        tx.execute(_FIND_ORDERS)


def drop(tx: Tx) -> None:
    """Take the table away where the transaction goes on to be committed: it is the connection's."""
    book.drop(tx, checkfirst=False)
