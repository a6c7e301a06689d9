"""Orders as people and programs see them, live and archived: lists, a summary, everything about one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, bindparam, func, null, select, union_all

from pipeline.errors import UnknownOrder
from pipeline.order import Status
from pipeline.payments.account import fold
from pipeline.payments.refund_tax import Split
from pipeline.storage import archive, dispatches, fulfilment, payments, refund_tax, waiting
from pipeline.storage.database import Tx
from pipeline.storage.quotes import archived as archived_quote
from pipeline.storage.selection import Selection, where
from pipeline.storage.tables import (
    archived_orders,
    cancelled_lines,
    events,
    notifications,
    order_documents,
    order_lines,
    orders,
    payment_operations,
    quotes,
    reservations,
    return_lines,
    returns,
    shipment_lines,
    shipments,
    sources,
)

EVERYTHING = Selection()

Row = dict[str, Any]

_UPDATED = select(events.c.at).where(
    events.c.order_id == orders.c.id, events.c.seq == orders.c.version
)


def _columns(of: Table) -> list[Any]:
    """What a list shows of an order, and the archive has, too."""
    return [
        of.c.id,
        sources.c.name.label("source"),
        of.c.external_id,
        of.c.status,
        of.c.reason,
        of.c.currency,
        of.c.accepted_at,
        of.c.settled_at,
        fulfilment.status_of(of).label("fulfilment_status"),
    ]


_ORDERS = (
    select(
        *_columns(orders),
        orders.c.stage,
        quotes.c.total,
        orders.c.version,
        _UPDATED.scalar_subquery().label("updated_at"),
        null().label("archived_at"),
    )
    .join(sources, sources.c.id == orders.c.source_id)
    .outerjoin(quotes, quotes.c.order_id == orders.c.id)
    .order_by(orders.c.id.desc())
)
_NAMES = [column.name for column in _ORDERS.selected_columns]
_ARCHIVED = (
    select(
        *_columns(archived_orders),
        null().label("stage"),
        archived_orders.c.total,
        archived_orders.c.archived_at,
    )
    .join(sources, sources.c.id == archived_orders.c.source_id)
    .order_by(archived_orders.c.id.desc())
)


def page(
    tx: Tx, selection: Selection = EVERYTHING, *, before: int | None = None, most: int = 50
) -> list[Row]:
    """Orders that match and are not archived, newest first; `before` an id continues an earlier page.
    `updated_at` is when the last event was."""
    query = _ORDERS.where(where(selection)).limit(most)
    if before is not None:
        query = query.where(orders.c.id < before)
    return [_plain(r._mapping) for r in tx.execute(query)]


def archived_page(
    tx: Tx, selection: Selection = EVERYTHING, *, before: int | None = None, most: int = 50
) -> list[Row]:
    """As `page`, of the archive: by status, reason, source, external id and age."""
    query = _ARCHIVED.where(where(selection, archived_orders)).limit(most)
    if before is not None:
        query = query.where(archived_orders.c.id < before)
    return [_plain(r._mapping) for r in tx.execute(query)]


def summary(tx: Tx, order_id: int) -> Row:
    """An order, be it archived: its row, its document, what it costs, how it is paid. All of it changes
    with the row's version, and only so. UnknownOrder if there is none."""
    return _summary(_find(tx, order_id))


def one(tx: Tx, order_id: int) -> Row:
    """Everything about an order: its summary, money, stock, what left and what came back, timeline."""
    order = _find(tx, order_id)
    found = _plain(_summary(order), "held")  # that is among its events
    archived = order.archived.get(quotes.name)
    its_quote = (
        {order_id: archived_quote(archived[0], order.archived[order_lines.name])}
        if archived
        else {}
    )
    made_of = refund_tax.splits_of(tx, [order_id], its_quote)
    return {
        **found,
        "quote": found["quote"] and _read(found["quote"]),
        "payments": [
            _with_split(row, made_of.get((order_id, row["key"])))
            for row in order.rows(payment_operations, "at", "kind", "state")
        ],
        "reservations": order.rows(reservations),
        "waits_for": waiting.of_order(tx, order_id),
        "shipments": shipments_of(tx, order_id),
        "returns": returns_of(tx, order_id),
        "cancelled_lines": order.rows(cancelled_lines),
        "notifications": order.rows(notifications),
        "events": order.rows(events),
    }


@dataclass(frozen=True, slots=True)
class _Order:
    """An order's row, and where its other rows are: in their tables, or in what was archived."""

    tx: Tx
    row: Row
    archived: Mapping[str, list[Row]]

    def rows(self, table: Table, *by: str) -> list[Row]:
        if table.name in self.archived:
            return [_plain(row, "order_id") for row in self.archived[table.name]]
        return _of(self.tx, table, self.row["id"], *by)


def _find(tx: Tx, order_id: int) -> _Order:
    found = tx.execute(_ORDERS.where(orders.c.id == order_id)).one_or_none()
    if found is not None:
        return _Order(tx, _plain(found._mapping), {})
    found = tx.execute(_ARCHIVED.where(archived_orders.c.id == order_id)).one_or_none()
    if found is None:
        raise UnknownOrder(order_id)
    contents = archive.contents(tx, order_id)
    row = {
        **_plain(found._mapping),
        "version": contents[orders.name][0]["version"],
        "updated_at": contents[events.name][-1]["at"],
    }
    return _Order(tx, {name: row[name] for name in _NAMES}, contents)


def _summary(order: _Order) -> Row:
    [document], quote = order.rows(order_documents), order.rows(quotes)
    order_id, is_held = order.row["id"], order.row["status"] == Status.ON_HOLD
    return {
        **order.row,
        "document": json.loads(document["body"]),
        "decided": json.loads(document.get("decided") or "{}"),
        "vat_check": json.loads(document.get("vat_check") or "null"),
        "placed_at": document.get("placed_at"),
        "held": _held(order.tx, order_id) if is_held else [],
        "quote": quote[0] if quote else None,
        "lines": order.rows(order_lines),
        "payment_status": fold(payments.read(order.tx, [order_id])[order_id]).status,
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


def timeline(tx: Tx, order_id: int) -> list[Row]:
    """The events of an order, the oldest first; UnknownOrder if there is none."""
    found = _of(tx, events, order_id) or archive.contents(tx, order_id)[events.name]
    return [
        {
            **_plain(e, "order_id"),
            "detail": None if e["detail"] is None else json.loads(e["detail"]),
        }
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


def tell_wait(order: dict[str, Any], dispatch: Any) -> None:
    """Let the timeline of an order, as `one` tells it, say how often it was looked at since the event
    that says why it waits, when it was last, and when it is next. `dispatch` is the one it is in, or None."""
    wait = dispatches.wait_of(dispatch, order["id"])
    began = next((e for e in reversed(order["events"]) if e["kind"] == "retried"), None)
    if wait is None or wait.looks < 2 or began is None:
        return
    at = {"last_look": wait.last_at, "next_look": dispatch.due_at}
    said = {name: moment.isoformat(" ", "seconds") for name, moment in at.items()}
    detail = {**json.loads(began["detail"] or "{}"), "looks": wait.looks, **said}
    began["detail"] = json.dumps(detail)


def _with_split(row: dict[str, Any], split: Split | None) -> dict[str, Any]:
    """An operation's row with the net and the tax of a refund, which others have not."""
    return {**row, "net": split and split.net, "tax": split and split.tax}


def ids_of(tx: Tx, external_id: str) -> dict[str, int]:
    """By source, the orders that upstream systems call so, live and archived."""
    found = union_all(
        *(
            select(sources.c.name, table.c.id)
            .join(sources, sources.c.id == table.c.source_id)
            .where(table.c.external_id == external_id)
            for table in (orders, archived_orders)
        )
    )
    return {r.name: r.id for r in tx.execute(found)}


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


def shipments_of(tx: Tx, order_id: int) -> list[dict[str, Any]]:
    """What left of an order, the oldest first: reference, carrier, tracking, actor, at, and `lines`
    (line_no, location, sku, units)."""
    return _with_lines(tx, shipments, shipment_lines, order_id)


def returns_of(tx: Tx, order_id: int) -> list[dict[str, Any]]:
    """What came back, the oldest first: reference, location, reason, actor, at, and `lines`
    (line_no, sku, units)."""
    return _with_lines(tx, returns, return_lines, order_id)


def _with_lines(tx: Tx, table: Table, lines: Table, order_id: int) -> list[dict[str, Any]]:
    """Shipments or returns, each with its lines."""
    parent = lines.primary_key.columns.values()[0].name
    found = {row["id"]: {**_plain(row, "digest"), "lines": []} for row in _of(tx, table, order_id)}
    for line in _of(tx, lines, order_id, parent, "line_no"):
        found[line[parent]]["lines"].append(_plain(line, parent))
    return list(found.values())


def _of(tx: Tx, table: Table, order_id: int, *by: str) -> list[dict[str, Any]]:
    query = select(table).where(table.c.order_id == order_id)
    columns = [table.c[name] for name in by] or [table.primary_key.columns.values()[-1]]
    query = query.order_by(*columns)
    return [_plain(r._mapping, "order_id") for r in tx.execute(query)]


def _plain(row: Mapping[Any, Any], *without: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in without}
