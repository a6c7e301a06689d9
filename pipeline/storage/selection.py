"""Orders by filter: the one vocabulary of whoever lists, requeues or cancels them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, Table, and_, column, exists, false, func, or_, select

from pipeline.order import Status, email_key
from pipeline.storage import fulfilment
from pipeline.storage.database import Tx
from pipeline.storage.sql import json_items, json_text, now
from pipeline.storage.tables import (
    archived_orders,
    events,
    order_documents,
    orders,
    sources,
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What orders must have in common; None: anything.

    `older_than`: seconds since it was held, or settled. `settled_by`: held or settled no later than
    at that moment. `accepted_since`, `updated_since`: at that moment or later. `fulfilment`:
    unfulfilled, partial or fulfilled. `reasons`: one of these. `sku` is read from each order's
    document: no index helps it.
    """

    status: str | None = None
    reason: str | None = None
    stage: str | None = None
    source: str | None = None
    external_id: str | None = None
    older_than: float | None = None
    sku: str | None = None
    email: str | None = None
    settled_by: datetime | None = None
    fulfilment: str | None = None
    accepted_since: datetime | None = None
    updated_since: datetime | None = None
    reasons: tuple[str, ...] | None = None

    @property
    def is_everything(self) -> bool:
        return all(getattr(self, field.name) is None for field in fields(self))


@dataclass(frozen=True, slots=True)
class Found:
    """What a selection holds: `groups` of (reason, stage, source, orders), the largest first, and
    the first few `examples` (id, external_id). `selection` is bound to what there was to be found:
    orders that were held later are not in it."""

    selection: Selection
    groups: list[dict[str, Any]]
    examples: list[dict[str, Any]]

    @property
    def orders(self) -> int:
        return sum(group["orders"] for group in self.groups)


def where(selection: Selection, of: Table = orders) -> ColumnElement[bool]:
    """The condition on `orders`, or on `archived_orders`: those are at no stage."""
    return and_(True, *_conditions(selection, of))


def _conditions(chosen: Selection, of: Table) -> Iterator[ColumnElement[bool]]:
    for name in ("status", "reason", "stage", "external_id"):
        value = getattr(chosen, name)
        if name == "status" and value == Status.ON_HOLD and of is orders:
            yield orders.c.held_at.is_not(None)  # says the same, and has an index
        elif value is not None:
            yield of.c[name] == value if name in of.c else false()
    if chosen.reasons is not None:
        yield of.c.reason.in_(chosen.reasons)
    if chosen.source is not None:
        named = select(sources.c.id).where(sources.c.name == chosen.source)
        yield of.c.source_id == named.scalar_subquery()
    if chosen.older_than is not None:
        yield of.c.settled_at <= now(-chosen.older_than)
    if chosen.settled_by is not None:
        yield of.c.settled_at <= chosen.settled_by
    if chosen.fulfilment is not None:
        yield fulfilment.status_of(of) == chosen.fulfilment
    if chosen.accepted_since is not None:
        yield of.c.accepted_at >= chosen.accepted_since
    if chosen.updated_since is not None:
        yield exists().where(
            events.c.order_id == orders.c.id,
            events.c.seq == orders.c.version,
            events.c.at >= chosen.updated_since,
        )
    if chosen.sku is not None:
        yield _holds_sku(of, chosen.sku)
    if chosen.email is not None:
        yield _is_from(of, email_key(chosen.email))


def _is_from(of: Table, key: str) -> ColumnElement[bool]:
    its = of if of is archived_orders else order_documents
    is_so = or_(its.c.customer == key, its.c.email_key == key)
    if of is archived_orders:
        return is_so
    return orders.c.id.in_(select(order_documents.c.order_id).where(is_so))


def _holds_sku(of: Table, sku: str) -> ColumnElement[bool]:
    """A look at the text spares reading the JSON of nearly all."""
    written = _as_json(sku)
    if of is archived_orders:  # the document is a text in the body's JSON
        body = archived_orders.c.body
        document = json_text(body, order_documents.name, 0, "body")
        return and_(_mentions(body, _as_json(written)), _has_line(document, sku))
    body = order_documents.c.body
    its = order_documents.c.order_id == orders.c.id
    return exists().where(its, _mentions(body, written), _has_line(body, sku))


def _as_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _mentions(body: ColumnElement[str], text: str) -> ColumnElement[bool]:
    return func.lower(body).contains(text.lower(), autoescape=True)


def _has_line(document: ColumnElement[str], sku: str) -> ColumnElement[bool]:
    lines = json_items(json_text(document, "lines"))
    line = lines.table_valued(column("value", String), name="line")
    return exists(select(1).select_from(line).where(json_text(line.c.value, "sku") == sku))


_GROUPS = (
    select(
        orders.c.reason, orders.c.stage, sources.c.name.label("source"),
        func.count().label("orders"), func.min(orders.c.settled_at).label("oldest"),
    )
    .join(sources, sources.c.id == orders.c.source_id)
    .group_by(orders.c.reason, orders.c.stage, sources.c.name)
    .order_by(func.count().desc(), orders.c.reason, orders.c.stage, sources.c.name)
)  # fmt: skip
_EXAMPLES = (
    select(orders.c.id, sources.c.name.label("source"), orders.c.external_id, orders.c.reason)
    .join(sources, sources.c.id == orders.c.source_id)
    .order_by(orders.c.id)
    .limit(5)
)


_HELD = (
    select(
        orders.c.reason, func.count().label("orders"), func.min(orders.c.held_at).label("oldest")
    )
    .where(orders.c.held_at.is_not(None))
    .group_by(orders.c.reason)
    .order_by(func.count().desc(), orders.c.reason)
)


def held_by_reason(tx: Tx) -> list[dict[str, Any]]:
    """All orders on hold: `reason`, how many `orders`, since when the `oldest`. Reads their index
    alone, none of the orders that go their way."""
    return [dict(r._mapping) for r in tx.execute(_HELD)]


_COUNT = select(func.count()).select_from(orders)


def count_held(tx: Tx, selection: Selection) -> int:
    """How many orders on hold match. All of them, or those of one reason, an index tells."""
    return int(tx.execute(_COUNT.where(where(_held(selection)))).scalar_one())


def find(tx: Tx, selection: Selection) -> Found:
    """How many orders on hold match, by reason, stage and source. Reads them all, once. A selection
    that is bound to a moment already stays so."""
    held = _held(selection)
    if held.settled_by is None:
        held = replace(held, settled_by=tx.execute(select(now())).scalar_one())
    groups = [dict(r._mapping) for r in tx.execute(_GROUPS.where(where(held)))]
    first = tx.execute(_EXAMPLES.where(where(held)))
    return Found(held, groups, [dict(r._mapping) for r in first])


def _held(selection: Selection) -> Selection:
    return replace(selection, status=Status.ON_HOLD.value)


def lock_held(tx: Tx, selection: Selection, after: int, most: int) -> dict[int, Any]:
    """The next rows, by id, of the orders on hold that match now; locked in order of id. What
    others have changed meanwhile is not among them; fewer than `most` are the last."""
    query = (
        select(orders)
        .where(where(_held(selection)), orders.c.id > after)
        .order_by(orders.c.id)
        .limit(most)
        .with_for_update(of=orders)
    )
    return {r.id: r for r in tx.execute(query)}
