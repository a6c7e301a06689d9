"""Shipments, returns, and lines cancelled: what left, what came back, what will never leave."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    update,
)

from pipeline.errors import InvariantBroken
from pipeline.inventory.allocation import Allotment
from pipeline.inventory.shipping import Return, Shipment
from pipeline.payments.refunds import CancelledLine
from pipeline.storage.database import Tx
from pipeline.storage.levels import Movement, lock_available, move, reference
from pipeline.storage.levels import held as held  # what whoever ships asks for
from pipeline.storage.sql import ids, now, pack, rows
from pipeline.storage.tables import (
    cancelled_lines,
    reservations,
    return_lines,
    returns,
    shipment_lines,
    shipments,
)


def status_of(table: Table) -> ColumnElement[Any]:
    """Of an order in `orders`, or the archive: a confirmed one holds just what is left to ship."""
    return case(
        (~exists().where(shipment_lines.c.order_id == table.c.id), "unfulfilled"),
        (exists().where(reservations.c.order_id == table.c.id), "partial"),
        else_="fulfilled",
    )


def _known(table: Table) -> Any:
    named = (table.c.order_id, table.c.reference, table.c.digest)
    return select(*named).where(table.c.order_id.in_(ids()))


_SHIPPED_AS, _RETURNED_AS = _known(shipments), _known(returns)
Name = tuple[int, str]  # order id, reference


def shipped_as(tx: Tx, order_ids: Iterable[int]) -> dict[Name, str]:
    """The digests of the shipments of these orders, by order and reference."""
    found = tx.execute(_SHIPPED_AS, {"ids": pack(order_ids)})
    return {(r.order_id, r.reference): r.digest for r in found}


def returned_as(tx: Tx, order_id: int) -> dict[Name, str]:
    """As `shipped_as`, of an order's returns."""
    found = tx.execute(_RETURNED_AS, {"ids": pack([order_id])})
    return {(r.order_id, r.reference): r.digest for r in found}


_part = rows(
    reservations.c.order_id, reservations.c.line_no, reservations.c.location,
    reservations.c.quantity,
)  # fmt: skip
_is_it = and_(
    reservations.c.order_id == _part.c.order_id,
    reservations.c.line_no == _part.c.line_no,
    reservations.c.location == _part.c.location,
)
# Named by their whole keys: by an EXISTS that compares, SQLite reads all parts for each reservation.
_TAKE_ALL = (
    delete(reservations)
    .where(tuple_(*(reservations.c[c.key] for c in _part.c)).in_(select(*_part.c)))
    .returning(reservations.c.line_no)
)
_TAKE_SOME = (
    update(reservations)
    .where(_is_it, reservations.c.quantity > _part.c.quantity)
    .values(quantity=reservations.c.quantity - _part.c.quantity)
    .returning(reservations.c.line_no)
)


def take_off(tx: Tx, taken: Sequence[Allotment], actor: str) -> None:
    """These units leave: their reservations, what is reserved and what is on hand fall together,
    each guarded; if one refuses, InvariantBroken, and the transaction must be rolled back. What is
    free stays the same, so nobody who waits is served. The caller holds the orders' locks."""
    lock_available(tx, {a.sku for a in taken})
    parts = Counter[tuple[int, int, str]]()
    for a in taken:
        parts[a.order_id, a.line_no, a.location] += a.quantity
    given = {"rows": pack((*part, n) for part, n in parts.items())}
    gone = len(
        tx.execute(_TAKE_ALL, given).all()
    )  # first: what is left of the others may be as much
    gone += len(tx.execute(_TAKE_SOME, given).all())
    leave = [
        movement("shipment", a.sku, a.location, -a.quantity, a.order_id, promised=-a.quantity)
        for a in taken
    ]
    if gone < len(parts) or move(tx, leave, actor):
        raise InvariantBroken(f"units that were to be shipped are not promised: {sorted(parts)}")


def movement(
    kind: str, sku: str, location: str, units: int, order_id: int, *, promised: int = 0
) -> Movement:
    """For the ledger, with the order that it is for."""
    return Movement(sku, location, kind, units, reference=reference(order_id), promised=promised)


def _adding(table: Table, *names: str) -> Any:
    fields = ["order_id", "reference", *names, "digest"]
    given = rows(*(table.c[name] for name in fields))
    values = select(*given.c, bindparam("actor", type_=String), now())
    made = insert(table).from_select([*fields, "actor", "at"], values)
    return made.returning(table.c.id, table.c.order_id, table.c.reference)


_ADD_SHIPMENTS = _adding(shipments, "carrier", "tracking")
_ADD_RETURN = _adding(returns, "location", "reason")


def _adding_lines(table: Table) -> Any:
    given = rows(*table.c)
    return insert(table).from_select(list(table.c.keys()), select(*given.c))


_ADD_SHIPMENT_LINES = _adding_lines(shipment_lines)
_ADD_RETURN_LINES = _adding_lines(return_lines)
_ADD_CANCELLED = _adding_lines(cancelled_lines)


def add_shipments(
    tx: Tx, shipped: Sequence[tuple[Shipment, Sequence[Allotment]]], actor: str
) -> list[int]:
    """Write shipments with the units that left in each; their ids, in the order given."""
    new = [(s.order_id, s.reference, s.carrier, s.tracking, s.digest) for s, _ in shipped]
    made = tx.execute(_ADD_SHIPMENTS, {"rows": pack(new), "actor": actor})
    named = {(r.order_id, r.reference): r.id for r in made}
    found = [named[s.order_id, s.reference] for s, _ in shipped]
    lines = [
        (i, a.line_no, a.location, a.order_id, a.sku, a.quantity)
        for i, (_, taken) in zip(found, shipped, strict=True)
        for a in taken
    ]
    tx.execute(_ADD_SHIPMENT_LINES, {"rows": pack(lines)})
    return found


def add_return(tx: Tx, back: Return, skus: dict[int, str], actor: str) -> int:
    """Write a return; its id. `skus` are those of its lines."""
    new = (back.order_id, back.reference, back.location, back.reason, back.digest)
    made = tx.execute(_ADD_RETURN, {"rows": pack([new]), "actor": actor}).one()
    lines = [(made.id, n, back.order_id, skus[n], units) for n, units in sorted(back.lines.items())]
    tx.execute(_ADD_RETURN_LINES, {"rows": pack(lines)})
    return int(made.id)


def add_cancelled(tx: Tx, order_id: int, lines: Sequence[CancelledLine]) -> None:
    """Write what of an order will never leave."""
    packed_lines = pack((order_id, c.line_no, c.sku, c.units, c.amount, c.unpaid) for c in lines)
    tx.execute(_ADD_CANCELLED, {"rows": packed_lines})


_paid = rows(cancelled_lines.c.order_id, cancelled_lines.c.line_no, cancelled_lines.c.unpaid)
_SET_UNPAID = (
    update(cancelled_lines)
    .where(
        cancelled_lines.c.order_id == _paid.c.order_id,
        cancelled_lines.c.line_no == _paid.c.line_no,
    )
    .values(unpaid=_paid.c.unpaid)
)


def set_unpaid(tx: Tx, lines: Sequence[tuple[int, int, int]]) -> None:
    """What is not captured of cancelled lines: (order id, line number, minor units)."""
    if lines:
        tx.execute(_SET_UNPAID, {"rows": pack(lines)})


_CANCELLED = (
    select(cancelled_lines)
    .where(cancelled_lines.c.order_id.in_(ids()))
    .order_by(cancelled_lines.c.order_id, cancelled_lines.c.line_no)
)


def cancelled(tx: Tx, order_ids: Collection[int]) -> dict[int, list[CancelledLine]]:
    """The lines cancelled after part was shipped, by order id; others are absent."""
    if not order_ids:
        return {}
    found: dict[int, list[CancelledLine]] = defaultdict(list)
    for r in tx.execute(_CANCELLED, {"ids": pack(order_ids)}):
        found[r.order_id].append(CancelledLine(*r[1:]))
    return dict(found)


def unpaid(tx: Tx, order_ids: Collection[int]) -> dict[int, int]:
    """What is due no more of what was authorized for these orders, in minor units; others are absent."""
    return {i: sum(c.unpaid for c in lines) for i, lines in cancelled(tx, order_ids).items()}


def _sum_of(table: Table) -> Any:
    return (
        select(table.c.line_no, table.c.sku, func.sum(table.c.units).label("units"))
        .where(table.c.order_id == bindparam("of_order"))
        .group_by(table.c.line_no, table.c.sku)
    )


_SHIPPED, _RETURNED = _sum_of(shipment_lines), _sum_of(return_lines)


def outside(tx: Tx, order_id: int) -> dict[int, tuple[str, int]]:
    """By line number, its SKU and the units that were shipped and have not come back."""
    found = {r.line_no: (r.sku, int(r.units)) for r in tx.execute(_SHIPPED, {"of_order": order_id})}
    for r in tx.execute(_RETURNED, {"of_order": order_id}):
        sku, units = found[r.line_no]
        found[r.line_no] = sku, units - int(r.units)
    return found


_IDS = select(shipments).where(shipments.c.id.in_(ids()))
_OF_IDS = (
    select(shipment_lines)
    .where(shipment_lines.c.shipment_id.in_(ids()))
    .order_by(shipment_lines.c.shipment_id, shipment_lines.c.line_no, shipment_lines.c.location)
)


def shipments_by_id(tx: Tx, shipment_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """What to tell of shipments: reference, carrier, tracking, lines (line, sku, units)."""
    lines: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for r in tx.execute(_OF_IDS, {"ids": pack(shipment_ids)}):
        lines[r.shipment_id].append({"line": r.line_no, "sku": r.sku, "units": r.units})
    return {
        r.id: {
            "reference": r.reference, "carrier": r.carrier, "tracking": r.tracking,
            "lines": lines[r.id],
        }
        for r in tx.execute(_IDS, {"ids": pack(shipment_ids)})
    }  # fmt: skip
