"""Orders as their sources are told of them, be they archived: row, document, price, timeline."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Table, bindparam, select, union_all

from pipeline.errors import UnknownOrder
from pipeline.order import Status
from pipeline.payments.account import fold
from pipeline.storage import archive, fulfilment, payments
from pipeline.storage.database import Tx
from pipeline.storage.selection import Selection, where
from pipeline.storage.tables import (
    archived_orders,
    events,
    order_documents,
    order_lines,
    orders,
    quotes,
    sources,
)

Row = dict[str, Any]

_UPDATED = select(events.c.at).where(
    events.c.order_id == orders.c.id, events.c.seq == orders.c.version
)
_ORDERS = (
    select(
        orders.c.id, sources.c.name.label("source"), orders.c.external_id, orders.c.status,
        orders.c.reason, orders.c.stage, orders.c.currency, quotes.c.total, orders.c.accepted_at,
        orders.c.version, _UPDATED.scalar_subquery().label("updated_at"), orders.c.settled_at,
        fulfilment.status_of(orders).label("fulfilment_status"),
    )
    .join(sources, sources.c.id == orders.c.source_id)
    .outerjoin(quotes, quotes.c.order_id == orders.c.id)
    .order_by(orders.c.id.desc())
)  # fmt: skip


def page(tx: Tx, selection: Selection, *, before: int | None, most: int) -> list[Row]:
    """Orders that match and are not archived, newest first; `before` an id continues an earlier
    page. With version, updated_at (of the last event) and settled_at."""
    query = _ORDERS.where(where(selection)).limit(most)
    if before is not None:
        query = query.where(orders.c.id < before)
    return [dict(r._mapping) for r in tx.execute(query)]


def one(tx: Tx, order_id: int) -> Row:
    """An order: its row, its document, what it costs, how it is paid. All of it changes with the
    row's version, and only so."""
    found = tx.execute(_ORDERS.where(orders.c.id == order_id)).one_or_none()
    rows = _live(tx, order_id) if found else archive.contents(tx, order_id)
    quote, [document] = rows[quotes.name], rows[order_documents.name]
    return {
        **(dict(found._mapping) if found else _archived(tx, rows)),
        "document": json.loads(document["body"]),
        "decided": json.loads(document.get("decided") or "{}"),
        "vat_check": json.loads(document.get("vat_check") or "null"),
        "held": _held(tx, order_id) if found and found.status == Status.ON_HOLD else [],
        "quote": quote[0] if quote else None,
        "lines": [_without_id(line) for line in rows[order_lines.name]],
        "payment_status": fold(payments.read(tx, [order_id])[order_id]).status,
    }


_HELD = (
    select(events.c.kind, events.c.detail)
    .where(events.c.order_id == bindparam("wanted"), events.c.kind == "held")
    .order_by(events.c.seq.desc())
    .limit(1)
)


def _held(tx: Tx, order_id: int) -> list[Row]:
    """The event that held an order last, as `pipeline.hold_reasons.hold_of` reads it."""
    return [dict(r._mapping) for r in tx.execute(_HELD, {"wanted": order_id})]


def _live(tx: Tx, order_id: int) -> dict[str, list[Row]]:
    return {
        table.name: _of(tx, table, order_id) for table in (order_documents, quotes, order_lines)
    }


def _archived(tx: Tx, rows: dict[str, list[Row]]) -> Row:
    [row], timeline, quote = rows[orders.name], rows[events.name], rows[quotes.name]
    named = select(sources.c.name).where(sources.c.id == row["source_id"])
    known = {c.name: row[c.name] for c in _ORDERS.selected_columns if c.name in row}
    shipped = select(fulfilment.status_of(archived_orders)).where(archived_orders.c.id == row["id"])
    return {
        **known,
        "fulfilment_status": tx.execute(shipped).scalar_one(),
        "source": tx.execute(named).scalar_one(),
        "total": quote[0]["total"] if quote else None,
        "updated_at": timeline[-1]["at"],
    }


def timeline(tx: Tx, order_id: int) -> list[Row]:
    """The events of an order, the oldest first; UnknownOrder if there is none."""
    found = _of(tx, events, order_id) or archive.contents(tx, order_id)[events.name]
    return [
        {**_without_id(e), "detail": None if e["detail"] is None else json.loads(e["detail"])}
        for e in found
    ]


_WHOSE = union_all(
    *(
        select(table.c.source_id, table.c.status).where(table.c.id == bindparam("wanted"))
        for table in (orders, archived_orders)
    )
)


def source_of(tx: Tx, order_id: int) -> int | None:
    """Whose order it is; None if there is no such order."""
    found = tx.execute(_WHOSE, {"wanted": order_id}).one_or_none()
    return found.source_id if found else None


def status(tx: Tx, order_id: int) -> str:
    """Where an order is; UnknownOrder if there is none."""
    found = tx.execute(_WHOSE, {"wanted": order_id}).one_or_none()
    if found is None:
        raise UnknownOrder(order_id)
    return str(found.status)


def _of(tx: Tx, table: Table, order_id: int) -> list[Row]:
    order = table.primary_key.columns.values()[-1]
    query = select(table).where(table.c.order_id == order_id).order_by(order)
    return [dict(r._mapping) for r in tx.execute(query)]


def _without_id(row: Row) -> Row:
    return {k: v for k, v in row.items() if k != "order_id"}
