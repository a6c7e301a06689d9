"""Orders and their timeline: reading a batch, and the one door through which an order moves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from pipeline.chain import UNDO
from pipeline.errors import InvariantBroken, UnknownOrder
from pipeline.event_kind import EventKind
from pipeline.order import SETTLED, UNDECIDED, Lane, Order, Status, is_legal
from pipeline.storage import archive
from pipeline.storage.database import Tx
from pipeline.storage.sources import all_sources
from pipeline.storage.sql import UtcDateTime, event_time, ids, now, pack, rows
from pipeline.storage.tables import (
    archived_orders,
    events,
    order_documents,
    orders,
)

_LOAD = (
    select(
        orders,
        order_documents.c.body,
        order_documents.c.traceparent,
        order_documents.c.decided,
        order_documents.c.vat_check,
    )
    .join(order_documents, order_documents.c.order_id == orders.c.id)
    .where(orders.c.id.in_(ids()))
    .order_by(orders.c.id)
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An order of a batch, and whether someone has asked to cancel it."""

    order: Order
    cancel_requested: bool


def load(tx: Tx, order_ids: Iterable[int], attempt: int = 0) -> list[Loaded]:
    """The orders with the given ids, in order of id."""
    known = all_sources(tx)
    return [
        Loaded(_order(r, known, attempt), r.cancel_requested_at is not None)
        for r in tx.execute(_LOAD, {"ids": pack(order_ids)})
    ]


def _order(row: Any, known: dict[int, Any], attempt: int) -> Order:
    return Order(
        id=row.id,
        external_id=row.external_id,
        source=known[row.source_id],
        chain=row.chain,
        lane=Lane.INTERACTIVE if row.lane == 0 else Lane.BULK,
        status=Status(row.status),
        stage=row.stage,
        reason=row.reason,
        currency=row.currency,
        approved=row.approved,
        attempt=attempt,
        accepted_at=row.accepted_at,
        document=json.loads(row.body),
        traceparent=row.traceparent,
        decided=json.loads(row.decided) if row.decided else UNDECIDED,
        vat_check=json.loads(row.vat_check) if row.vat_check else None,
    )


@dataclass(frozen=True, slots=True)
class Move:
    """One entry in an order's life: from `source` to `target` (the same, when it only waits).

    `stage` is the step it goes to next (None at the end). `unless_cancelled` makes the database
    refuse it when a cancellation came in between.
    """

    order_id: int
    source: Status
    target: Status
    stage: str | None
    kind: EventKind
    reason: str | None = None
    detail: dict[str, Any] | None = None
    at_stage: str | None = None
    unless_cancelled: bool = False
    approve: bool = False


_move = rows(
    orders.c.id,
    Column("source", orders.c.status.type),
    Column("target", orders.c.status.type),
    orders.c.stage,
    orders.c.reason,
    Column("settled", Boolean),
    Column("unless_cancelled", Boolean),
    Column("approve", Boolean),
)
_MOVE = (
    update(orders)
    .where(
        orders.c.id == _move.c.id,
        orders.c.status == _move.c.source,
        or_(~_move.c.unless_cancelled, orders.c.cancel_requested_at.is_(None)),
    )
    .values(
        status=_move.c.target,
        stage=_move.c.stage,
        reason=_move.c.reason,
        version=orders.c.version + 1,
        approved=or_(orders.c.approved, _move.c.approve),
        settled_at=case((_move.c.settled, now()), else_=null()),
        held_at=case((_move.c.target == Status.ON_HOLD, now()), else_=null()),
    )
    .returning(orders.c.id, orders.c.version)
)

_event = rows(
    events.c.order_id,
    events.c.seq,
    events.c.kind,
    events.c.from_status,
    events.c.to_status,
    events.c.stage,
    events.c.reason,
    events.c.detail,
)
_EVENTS = insert(events).from_select(
    ["order_id", "seq", "at", "kind", "from_status", "to_status", "stage", "reason", "actor",
     "detail"],
    select(
        _event.c.order_id, _event.c.seq, event_time(), _event.c.kind, _event.c.from_status,
        _event.c.to_status, _event.c.stage, _event.c.reason, bindparam("actor"), _event.c.detail,
    ),
)  # fmt: skip


def move(tx: Tx, moves: Sequence[Move], actor: str) -> set[int]:
    """The one door that moves an order. Returns the ids it moved: what comes back is what we won.

    Each won move appends one event to the timeline, so the timeline always folds to the row.
    InvariantBroken if `TRANSITIONS` doesn't know one of the moves; then none is made.
    """
    if not moves:
        return set()
    _require_legal(moves)
    packed = pack(
        (m.order_id, m.source, m.target, m.stage, m.reason, m.target in SETTLED,
         m.unless_cancelled, m.approve)
        for m in moves
    )  # fmt: skip
    versions = {r.id: r.version for r in tx.execute(_MOVE, {"rows": packed})}
    _append(tx, [m for m in moves if m.order_id in versions], versions, actor)
    return set(versions)


def _require_legal(moves: Sequence[Move]) -> None:
    for source, target in {(move.source, move.target) for move in moves}:
        if source is not target and not is_legal(source, target):
            raise InvariantBroken(f"an order can't be moved from {source} to {target}")


def _append(tx: Tx, moves: Sequence[Move], versions: dict[int, int], actor: str) -> None:
    packed = pack(
        (m.order_id, versions[m.order_id], m.kind, m.source, m.target, m.at_stage, m.reason,
         json.dumps(m.detail, default=str) if m.detail else None)
        for m in moves
    )  # fmt: skip
    if moves:
        tx.execute(_EVENTS, {"rows": packed, "actor": actor})


_REQUEST_CANCEL = (
    update(orders)
    .where(orders.c.id.in_(ids()), orders.c.cancel_requested_at.is_(None))
    .values(cancel_requested_at=now(), version=orders.c.version + 1)
    .returning(orders.c.id, orders.c.version, orders.c.status, orders.c.stage)
)


def request_cancel(tx: Tx, order_ids: Iterable[int], reason: str, actor: str) -> set[int]:
    """Raise the flag that every claim and every record looks at; the ids where it was not up yet."""
    raised = {r.id: r for r in tx.execute(_REQUEST_CANCEL, {"ids": pack(order_ids)})}
    notes = [
        Move(i, Status(r.status), Status(r.status), r.stage, EventKind.CANCEL_REQUESTED, reason)
        for i, r in raised.items()
    ]
    _append(tx, notes, {i: r.version for i, r in raised.items()}, actor)
    return set(raised)


_CAUSES = (
    select(events.c.order_id, events.c.reason)
    .where(events.c.order_id.in_(ids()), events.c.kind.in_(["rejected", "cancelled"]))
    .order_by(events.c.order_id, events.c.seq)
)


def causes(tx: Tx, order_ids: Iterable[int]) -> dict[int, str]:
    """Why these orders are being undone: what the event says that ended each, the latest if one
    was reinstated since. What holds up the undo has a reason of its own, on the row."""
    return {r.order_id: r.reason for r in tx.execute(_CAUSES, {"ids": pack(order_ids)})}


#: In whose name an order comes back from the archive for something that is done to it.
RESTORER = "archive"
_LOCK = select(orders).where(orders.c.id == bindparam("order_id")).with_for_update()


def lock(tx: Tx, order_id: int) -> Any:
    """One order's row, locked; UnknownOrder if there is none. One that is archived is brought back:
    whoever locks an order is about to do something to it."""
    row = tx.execute(_LOCK, {"order_id": order_id}).one_or_none()
    if row is None:
        # Be it by us or by another, who brought it back while we waited for the archive's row.
        archive.restore(tx, [order_id], RESTORER)
        row = tx.execute(_LOCK, {"order_id": order_id}).one_or_none()
    if row is None:
        raise UnknownOrder(order_id)
    return row


_LOCK_ALL = select(orders).where(orders.c.id.in_(ids())).order_by(orders.c.id).with_for_update()


def lock_live(tx: Tx, order_ids: Iterable[int]) -> dict[int, Any]:
    """The rows of these orders by id, locked in order of id; one that isn't there is absent."""
    return {r.id: r for r in tx.execute(_LOCK_ALL, {"ids": pack(order_ids)})}


def lock_all(tx: Tx, order_ids: Iterable[int]) -> dict[int, Any]:
    """As `lock_live`, once those that are archived are brought back."""
    wanted = set(order_ids)
    found = lock_live(tx, wanted)
    if missing := wanted - found.keys():
        archive.restore(tx, missing, RESTORER)
        found = lock_live(tx, wanted)
    return found


_limit = rows(orders.c.source_id, Column("seconds", Float), parameter="limits")
_LOCK_HELD = (
    select(orders.c.id)
    .join(_limit, _limit.c.source_id == orders.c.source_id)
    .where(
        orders.c.status == Status.ON_HOLD,
        orders.c.held_at.is_not(None),  # says the same, and has an index
        orders.c.settled_at < now(-_limit.c.seconds),
        orders.c.stage.not_like(f"{UNDO}%"),
    )
    .order_by(orders.c.id)
    .limit(bindparam("most"))
    .with_for_update(of=orders, skip_locked=True)
)


def lock_held(tx: Tx, limits: Mapping[int, float], most: int) -> list[int]:
    """Lock up to `most` orders that are on hold for longer than their source's limit (seconds, by
    source id), but for those held while being undone. Reads all orders, at the worst: not for a stage."""
    packed = pack(sorted(limits.items()))
    return list(tx.execute(_LOCK_HELD, {"limits": packed, "most": most}).scalars())


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened to an order without moving it."""

    order_id: int
    kind: EventKind
    reason: str | None = None
    detail: dict[str, Any] | None = None


_noted = rows(orders.c.id, Column("notes", Integer))
_NOTE = (
    update(orders)
    .where(orders.c.id == _noted.c.id)
    .values(version=orders.c.version + _noted.c.notes)
    .returning(orders.c.id, orders.c.version, orders.c.status, orders.c.stage)
)


def note(tx: Tx, notes: Sequence[Note], actor: str) -> None:
    """Append to timelines, in the order given. The caller holds the orders' locks."""
    if not notes:
        return
    counts = Counter(n.order_id for n in notes)
    found = {r.id: r for r in tx.execute(_NOTE, {"rows": pack(sorted(counts.items()))})}
    seq = {order_id: r.version - counts[order_id] for order_id, r in found.items()}
    packed = []
    for n in notes:
        row = found[n.order_id]
        seq[n.order_id] += 1
        detail = json.dumps(n.detail, default=str) if n.detail else None
        packed.append(
            (n.order_id, seq[n.order_id], n.kind, row.status, row.status, None, n.reason, detail)
        )
    tx.execute(_EVENTS, {"rows": pack(packed), "actor": actor})


_ON_CHAIN = (
    update(orders).where(orders.c.id.in_(ids())).values(chain=bindparam("on_chain", type_=String))
)


def put_on_chain(tx: Tx, order_ids: Iterable[int], chain: str) -> None:
    """Let these orders go on in another chain. The caller holds their locks and moves them."""
    tx.execute(_ON_CHAIN, {"ids": pack(order_ids), "on_chain": chain})


_DECIDED = (
    select(order_documents.c.order_id, order_documents.c.decided)
    .where(order_documents.c.order_id.in_(ids()))
)  # fmt: skip
_decided = rows(order_documents.c.order_id, order_documents.c.decided, parameter="decisions")
_DECIDE = (
    update(order_documents)
    .where(order_documents.c.order_id == _decided.c.order_id)
    .values(decided=_decided.c.decided)
)


def decided(tx: Tx, order_ids: Iterable[int]) -> dict[int, str | None]:
    """What was decided of these orders so far: JSON of {kind: value}, by order."""
    return {r.order_id: r.decided for r in tx.execute(_DECIDED, {"ids": pack(order_ids)})}


def write_decided(tx: Tx, decided: Mapping[int, str]) -> None:
    """Keep what is decided of these orders by now. The caller holds their locks."""
    tx.execute(_DECIDE, {"decisions": pack(sorted(decided.items()))})


_WITHDRAW = update(orders).where(orders.c.id.in_(ids())).values(approved=False)


def withdraw_approval(tx: Tx, order_ids: Collection[int]) -> None:
    """Hold rules apply to these again. The caller holds their locks."""
    if order_ids:
        tx.execute(_WITHDRAW, {"ids": pack(order_ids)})


_checked = rows(order_documents.c.order_id, order_documents.c.vat_check, parameter="checks")
_CHECK = (
    update(order_documents)
    .where(order_documents.c.order_id == _checked.c.order_id)
    .values(vat_check=_checked.c.vat_check)
)


def write_vat_checks(tx: Tx, checks: Mapping[int, str]) -> None:
    """Keep what was found out about these orders' VAT ids. The caller holds their dispatch."""
    tx.execute(_CHECK, {"checks": pack(sorted(checks.items()))})


_ordering = rows(
    order_documents.c.order_id, order_documents.c.customer, Column("moment", UtcDateTime)
)


def _came_before(order_id: ColumnElement[int], placed: Column[Any], accepted: Column[Any]) -> Any:
    """Placed, or else accepted, before the order that is asked about; of two at once the one that
    came in first."""
    moment = func.coalesce(placed, accepted)
    return or_(
        moment < _ordering.c.moment,
        and_(moment == _ordering.c.moment, order_id < _ordering.c.order_id),
    )


def _has_ordered(known_by: Column[Any]) -> ColumnElement[bool]:
    """Whether an order that stands came before, and has the key in that column."""
    if known_by.table is archived_orders:
        orders_id, placed, of = archived_orders.c.id, archived_orders.c.placed_at, archived_orders
    else:
        orders_id, placed, of = orders.c.id, order_documents.c.placed_at, orders
    here = [] if of is archived_orders else [orders.c.id == order_documents.c.order_id]
    return (
        exists()
        .where(
            known_by == _ordering.c.customer,
            orders_id != _ordering.c.order_id,
            *here,
            _came_before(orders_id, placed, of.c.accepted_at),
            of.c.status.not_in([Status.REJECTED, Status.CANCELLED]),
        )
        .correlate(_ordering)
    )


_REGULARS = select(_ordering.c.order_id).where(
    or_(
        *(
            _has_ordered(table.c[name])
            for table in (order_documents, archived_orders)
            for name in ("customer", "email_key")
        )
    )
)


def of_regulars(tx: Tx, ordering: Sequence[tuple[int, str, datetime]]) -> set[int]:
    """Of orders (id, key of the customer, moment), one row for each key, those whose customer has one
    that stands, neither rejected nor cancelled, from before that moment, under whichever key."""
    if not ordering:
        return set()
    return set(tx.execute(_REGULARS, {"rows": pack(ordering)}).scalars())
