"""What operators look at: orders by filter, and everything about one order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, bindparam, func, select

from pipeline.errors import UnknownOrder
from pipeline.payments.account import fold
from pipeline.storage import payments
from pipeline.storage.database import Tx
from pipeline.storage.selection import Selection, where
from pipeline.storage.tables import (
    events,
    notifications,
    order_documents,
    order_lines,
    orders,
    payment_operations,
    quotes,
    reservations,
    sources,
)

EVERYTHING = Selection()

_ORDERS = (
    select(
        orders.c.id,
        sources.c.name.label("source"),
        orders.c.external_id,
        orders.c.status,
        orders.c.reason,
        orders.c.stage,
        orders.c.currency,
        quotes.c.total,
        orders.c.accepted_at,
    )
    .join(sources, sources.c.id == orders.c.source_id)
    .outerjoin(quotes, quotes.c.order_id == orders.c.id)
    .order_by(orders.c.id.desc())
)


def page(
    tx: Tx, selection: Selection = EVERYTHING, *, before: int | None = None, most: int = 50
) -> list[dict[str, Any]]:
    """Orders that match, newest first; `before` an id continues an earlier page."""
    query = _ORDERS.where(where(selection)).limit(most)
    if before is not None:
        query = query.where(orders.c.id < before)
    return [_plain(r._mapping) for r in tx.execute(query)]


_UPDATED = select(events.c.at).where(
    events.c.order_id == orders.c.id, events.c.seq == orders.c.version
)
_DATED = _ORDERS.add_columns(
    orders.c.version, _UPDATED.scalar_subquery().label("updated_at"), orders.c.settled_at
)


def dated_page(
    tx: Tx, selection: Selection, *, before: int | None, most: int
) -> list[dict[str, Any]]:
    """As `page`, with version, updated_at (of the last event) and settled_at."""
    query = _DATED.where(where(selection)).limit(most)
    if before is not None:
        query = query.where(orders.c.id < before)
    return [_plain(r._mapping) for r in tx.execute(query)]


def told(tx: Tx, order_id: int) -> dict[str, Any]:
    """An order as its source is told of it: its row, its document, what it costs, how it is paid.
    All of it changes with the row's version, and only so."""
    found = tx.execute(_DATED.where(orders.c.id == order_id)).one_or_none()
    if found is None:
        raise UnknownOrder(order_id)
    body = select(order_documents.c.body).where(order_documents.c.order_id == order_id)
    quote = _of(tx, quotes, order_id)
    return {
        **_plain(found._mapping),
        "document": json.loads(tx.execute(body).scalar_one()),
        "quote": quote[0] if quote else None,
        "lines": _of(tx, order_lines, order_id),
        "payment_status": fold(payments.read(tx, [order_id])[order_id]).status,
    }


_SOURCE = select(orders.c.source_id).where(orders.c.id == bindparam("wanted"))
_STATUS = select(orders.c.status).where(orders.c.id == bindparam("wanted"))


def source_of(tx: Tx, order_id: int) -> int | None:
    """Whose order it is; None if there is no such order."""
    found: int | None = tx.execute(_SOURCE, {"wanted": order_id}).scalar_one_or_none()
    return found


def status(tx: Tx, order_id: int) -> str:
    """Where an order is; UnknownOrder if there is none."""
    found: str | None = tx.execute(_STATUS, {"wanted": order_id}).scalar_one_or_none()
    if found is None:
        raise UnknownOrder(order_id)
    return found


def timeline(tx: Tx, order_id: int) -> list[dict[str, Any]]:
    """The events of an order, the oldest first; none if there is no such order."""
    return [
        {**event, "detail": None if event["detail"] is None else json.loads(event["detail"])}
        for event in _of(tx, events, order_id)
    ]


def one(tx: Tx, order_id: int) -> dict[str, Any]:
    """Everything about an order: its row, document, quote, lines, money, stock, timeline."""
    found = tx.execute(_ORDERS.where(orders.c.id == order_id)).one_or_none()
    if found is None:
        raise UnknownOrder(order_id)
    body = select(order_documents.c.body).where(order_documents.c.order_id == order_id)
    quote = [_read(row) for row in _of(tx, quotes, order_id)]
    return {
        **_plain(found._mapping),
        "document": json.loads(tx.execute(body).scalar_one()),
        "quote": quote[0] if quote else None,
        "lines": _of(tx, order_lines, order_id),
        "payment_status": fold(payments.read(tx, [order_id])[order_id]).status,
        "payments": _of(tx, payment_operations, order_id, "at", "kind", "state"),
        "reservations": _of(tx, reservations, order_id),
        "notifications": _of(tx, notifications, order_id),
        "events": _of(tx, events, order_id),
    }


def _read(quote: dict[str, Any]) -> dict[str, Any]:
    """With what is kept as JSON as what it says."""
    return {**quote, **{name: json.loads(quote[name]) for name in ("coupons", "steps")}}


def by_outcome(tx: Tx) -> list[dict[str, Any]]:
    """How many orders have each status and reason. Counts them all: for a demo or a small shop."""
    query = (
        select(orders.c.status, orders.c.reason, func.count().label("orders"))
        .group_by(orders.c.status, orders.c.reason)
        .order_by(func.count().desc())
    )
    return [_plain(r._mapping) for r in tx.execute(query)]


def unsettled(tx: Tx) -> int:
    """How many orders the engine still has work with."""
    query = select(func.count()).select_from(orders).where(orders.c.settled_at.is_(None))
    return int(tx.execute(query).scalar_one())


def _of(tx: Tx, table: Table, order_id: int, *by: str) -> list[dict[str, Any]]:
    query = select(table).where(table.c.order_id == order_id)
    columns = [table.c[name] for name in by] or [table.primary_key.columns.values()[-1]]
    query = query.order_by(*columns)
    return [_plain(r._mapping, "order_id") for r in tx.execute(query)]


def _plain(row: Mapping[Any, Any], *without: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in without}
