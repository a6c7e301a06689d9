"""Orders as they come in: written once, and found again by the name that their source gave them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select

from pipeline.order import Status
from pipeline.storage.database import Tx
from pipeline.storage.sql import event_time, ids, now, pack, rows
from pipeline.storage.tables import events, order_documents, orders
from pipeline.storage.upsert import InsertNew

_NEW_FIELDS = ["source_id", "external_id", "chain", "lane", "stage", "currency"]
_new = rows(*(orders.c[name] for name in _NEW_FIELDS))
_ADD = InsertNew(
    orders,
    [*_NEW_FIELDS, "status", "approved", "version", "accepted_at"],
    select(
        *(_new.c[name] for name in _NEW_FIELDS),
        bindparam("status"), bindparam("approved", False), bindparam("version", 1), now(),
    ),
    conflict=["source_id", "external_id"],
    returning=[orders.c.id, orders.c.source_id, orders.c.external_id],
)  # fmt: skip


def add(tx: Tx, new: Sequence[tuple[int, str, str, int, str, str]]) -> dict[tuple[int, str], int]:
    """Insert orders that are not there yet: (source id, external id, chain, lane, stage, currency).

    Returns the ids of those it inserted by (source id, external id); a duplicate is not among them.
    """
    made = _ADD(tx, {"rows": pack(new), "status": Status.RECEIVED})
    return {(r.source_id, r.external_id): r.id for r in made}


_WITHDRAW = delete(orders).where(orders.c.id.in_(ids()))


def withdraw(tx: Tx, order_ids: Collection[int]) -> None:
    """Take back what `add` inserted in this transaction, and of which nothing else was written."""
    if order_ids:
        tx.execute(_WITHDRAW, {"ids": pack(order_ids)})


_DOCUMENT_FIELDS = [
    "order_id", "digest", "body", "customer", "email_key", "traceparent", "placed_at",
    "total_shown",
]  # fmt: skip
_document = rows(*(order_documents.c[name] for name in _DOCUMENT_FIELDS))
_DOCUMENTS = insert(order_documents).from_select(_DOCUMENT_FIELDS, select(*_document.c))
_received = rows(order_documents.c.order_id)
_RECEIVED = insert(events).from_select(
    ["order_id", "seq", "at", "kind", "to_status", "actor"],
    select(
        _received.c.order_id, bindparam("seq", 1), event_time(), bindparam("kind", "received"),
        bindparam("status", Status.RECEIVED.value), bindparam("actor", "intake"),
    ),
)  # fmt: skip


#: Order id, digest, body, customer, e-mail's key, traceparent, placed_at, total shown.
NewDocument = tuple[int, str, str, str | None, str | None, str | None, datetime | None, int | None]


def add_documents(tx: Tx, new: Sequence[NewDocument]) -> None:
    """Write what was sent for new orders, and begin their timelines."""
    if new:
        tx.execute(_DOCUMENTS, {"rows": pack(new)})
        tx.execute(_RECEIVED, {"rows": pack((order_id,) for order_id, *_ in new)})


_key = rows(orders.c.source_id, orders.c.external_id)
_FIND = (
    select(orders.c.source_id, orders.c.external_id, orders.c.id, order_documents.c.digest)
    .join(
        _key,
        (orders.c.source_id == _key.c.source_id) & (orders.c.external_id == _key.c.external_id),
    )
    .join(order_documents, order_documents.c.order_id == orders.c.id)
)


def find(tx: Tx, keys: Sequence[tuple[int, str]]) -> list[tuple[tuple[int, str], int, str]]:
    """Orders by (source id, external id): the key, the order's id, its document's digest."""
    if not keys:
        return []
    found = tx.execute(_FIND, {"rows": pack(keys)})
    return [((r.source_id, r.external_id), r.id, r.digest) for r in found]
