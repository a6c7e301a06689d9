"""The feed: the events of all orders in an order that never skips what commits late.

Events bear the time of their writing, not of their commit: one that is older than what was read
already may become visible later. So the feed ends at a horizon, behind which nobody is still
writing. On Postgres that is the beginning of the oldest transaction that has written anything: an
event is written after its transaction's first change (of the order's row), so whoever has changed
nothing yet will write events later than our look. On SQLite, where one writes at a time, it is the
time at which nobody does; and as its clock is the host's, which may be set back, an event is never
written with a time that is not later than those of all others.

Postgres shows the transactions of other roles only to who may see them: processes that write must
connect as the same role as those that serve the feed, or that one needs pg_read_all_stats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, and_, bindparam, func, or_, select, text

from pipeline.storage import clock
from pipeline.storage.database import Database, Tx
from pipeline.storage.sql import UtcDateTime, pack, rows
from pipeline.storage.tables import events, orders, sources

#: Events that are looked at for one page, whosever they are: a page costs the same for a source
#: with few orders among millions. It may then be empty, and not the last.
MOST_LOOKED_AT = 5_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where one has read to: the event with this key, and all before it."""

    at: datetime
    order_id: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """`end` is where to go on; `more`: there was more to be had already. `held_back`: seconds for which
    a transaction that is still open has held back the newest events."""

    events: list[dict[str, Any]]
    end: Position
    more: bool
    held_back: float = 0.0


_HORIZON = text("""
    SELECT until AS at, extract(epoch FROM statement_timestamp() - until)::float AS held_back
    FROM (
        SELECT least(min(xact_start), statement_timestamp()) AS until
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
    ) AS oldest
""").columns(at=UtcDateTime)
_OLDEST_WRITER = text("""
    SELECT pid, coalesce(usename, '') AS role, coalesce(application_name, '') AS application,
           extract(epoch FROM statement_timestamp() - xact_start)::float AS seconds
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
    ORDER BY xact_start
    LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Writer:
    """Whoever has written and not yet committed, for so many seconds."""

    pid: int
    role: str
    application: str
    seconds: float


def oldest_writer(tx: Tx) -> Writer | None:
    """Who holds the feed back the longest. Postgres only."""
    found = tx.execute(_OLDEST_WRITER).one_or_none()
    return None if found is None else Writer(*found)


def horizon(database: Database) -> tuple[datetime, float]:
    """The time before which every event is visible to a snapshot that is taken *after* this, and how
    many seconds ago that is."""
    if database.is_sqlite:
        with database.transaction() as tx:  # holds the one lock of writers
            return clock.of_next_event(tx), 0.0
    with database.snapshot() as tx:
        found = tx.execute(_HORIZON).one()
        return found.at, float(found.held_back)


_e = events.c


def comes_after(at: Any, order_id: Any, seq: Any) -> Any:
    """Which events come after a position, as a condition."""
    # The first condition is the others' too: it is the one that the index on time can use.
    return and_(
        _e.at >= at,
        or_(
            _e.at > at,
            _e.order_id > order_id,
            and_(_e.order_id == order_id, _e.seq > seq),
        ),
    )


_in_order = (_e.at, _e.order_id, _e.seq)
_LOOKED_AT = (
    select(events)
    .where(
        comes_after(
            bindparam("at", type_=UtcDateTime),
            bindparam("after_order", type_=BigInteger),
            bindparam("after_seq", type_=Integer),
        ),
        _e.at < bindparam("horizon", type_=UtcDateTime),
    )
    .order_by(*_in_order)
    .limit(bindparam("looked_at"))
    .subquery("looked_at")
)
_l = _LOOKED_AT.c
_PAGE = (
    select(
        _LOOKED_AT, sources.c.name.label("source"), orders.c.external_id,
    )
    .join(orders, orders.c.id == _l.order_id)
    .join(sources, sources.c.id == orders.c.source_id)
    .order_by(_l.at, _l.order_id, _l.seq)
    .limit(bindparam("most"))
)  # fmt: skip
_OF_SOURCE = _PAGE.where(orders.c.source_id == bindparam("source_id"))
_LAST = (
    select(_l.at, _l.order_id, _l.seq, func.count().over().label("looked_at"))
    .order_by(_l.at.desc(), _l.order_id.desc(), _l.seq.desc())
    .limit(1)
)


def read(database: Database, after: Position, source_id: int | None, most: int) -> Page:
    """Up to `most` events after a position, of one source's orders or (None) all, oldest first."""
    until, held_back = horizon(database)  # before the snapshot: what commits in between is in both
    with database.snapshot() as tx:
        return replace(_read(tx, after, until, source_id, most), held_back=held_back)


def _read(tx: Tx, after: Position, until: datetime, source_id: int | None, most: int) -> Page:
    values = {
        "at": after.at, "after_order": after.order_id, "after_seq": after.seq, "horizon": until,
        "looked_at": MOST_LOOKED_AT,
    }  # fmt: skip
    if source_id is None:
        found = tx.execute(_PAGE, {**values, "most": most}).all()
    else:
        found = tx.execute(_OF_SOURCE, {**values, "most": most, "source_id": source_id}).all()
    told = [_told(row) for row in found]
    if len(found) == most:
        last = found[-1]
        return Page(told, Position(last.at, last.order_id, last.seq), more=True)
    end = tx.execute(_LAST, values).one_or_none()
    if end is None:
        return Page(told, after, more=False)
    more = end.looked_at == MOST_LOOKED_AT
    return Page(told, Position(end.at, end.order_id, end.seq), more)


_named = rows(_e.order_id, _e.seq)
_THESE = (
    select(events, sources.c.name.label("source"), orders.c.external_id)
    .join(_named, and_(_named.c.order_id == _e.order_id, _named.c.seq == _e.seq))
    .join(orders, orders.c.id == _e.order_id)
    .join(sources, sources.c.id == orders.c.source_id)
)


def these(tx: Tx, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Events by order id and sequence, as the feed tells them; one that is not there, as its order is
    in the archive, is absent."""
    found = tx.execute(_THESE, {"rows": pack(keys)})
    return {(row.order_id, row.seq): _told(row) for row in found}


def _told(row: Any) -> dict[str, Any]:
    return {
        "order_id": row.order_id, "source": row.source, "external_id": row.external_id,
        "seq": row.seq, "at": row.at, "kind": row.kind, "from_status": row.from_status,
        "to_status": row.to_status, "stage": row.stage, "reason": row.reason, "actor": row.actor,
        "detail": None if row.detail is None else json.loads(row.detail),
    }  # fmt: skip
