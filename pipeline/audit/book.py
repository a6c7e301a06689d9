"""The gateway's own list as a table, so that rules about it are queries like all others.

It is read page by page into a file *before* the audit's snapshot is opened, and from there into a
temporary table of the snapshot's transaction. Why that is right on a live system, where orders
are paid meanwhile: an operation is committed as `requested`, then done by the gateway, then
committed as `succeeded`.

- A line of the book was done before the snapshot, so the snapshot holds at least its request: what
  it doesn't hold is not ours. If it is `requested` still, its order must be where someone will ask.
- A `succeeded` row may be younger than the book. One that was written before the reading began
  (`book_read_at`, the database's clock) was done before, so the reading met it. Only those are
  asked for; the next audit asks for the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from typing import IO

from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    select,
    text,
    update,
)

from pipeline.payments.gateway import BookEntry
from pipeline.storage.database import Tx
from pipeline.storage.sql import pack, rows
from pipeline.storage.tables import payment_operations as ops

PAGE = 5_000

book = Table(
    "audit_book",
    MetaData(),
    Column("kind", String(12)),
    Column("key", String(128)),
    Column("reference", String(128)),
    Column("amount", BigInteger),
    Column("currency", String(3)),
    Column("order_id", BigInteger),  # whose operation it is, null if it is none of ours
    prefixes=["TEMPORARY"],
    postgresql_with={"fillfactor": 45},  # room to write the orders in place
)
_told = [column for column in book.c if column.key != "order_id"]
_as_row = attrgetter(*(column.key for column in _told))
_INSERT = insert(book).from_select(_told, select(*rows(*_told).c))
# Here and once: operations have no index by key alone, and SQLite plans a join without one badly.
_FIND_ORDERS = (
    update(book)
    .where(
        ops.c.key == book.c.key,
        ops.c.state == "requested",
        ops.c.gateway == bindparam("of_gateway"),
    )
    .values(order_id=ops.c.order_id)
)


@contextmanager
def spooled(entries: Iterable[BookEntry]) -> Iterator[IO[str]]:
    """A file of the entries, one page of rows a line: a book may be larger than memory."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as pages:
        stream = iter(entries)
        while page := list(islice(stream, PAGE)):
            pages.write(pack(map(_as_row, page)) + "\n")
        pages.seek(0)
        yield pages


def load(tx: Tx, pages: Iterable[str], gateway: str) -> None:
    """Make the table in `tx`, for `tx` only: its rollback takes it away."""
    book.create(tx, checkfirst=False)
    for page in pages:
        tx.execute(_INSERT, {"rows": page})
    tx.execute(text("CREATE INDEX audit_book_by_key ON audit_book (key)"))
    # Nobody else will: without it Postgres takes the book for small, and joins it row by row.
    tx.execute(text("ANALYZE audit_book"))
    tx.execute(_FIND_ORDERS, {"of_gateway": gateway})
