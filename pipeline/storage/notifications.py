"""Notifications: written before they are sent, under an id that never changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)

from pipeline.notifications.message import CONFIRMED
from pipeline.order import OVER, Status
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, now, pack, rows
from pipeline.storage.tables import notifications, orders
from pipeline.storage.upsert import InsertNew


@dataclass(frozen=True, slots=True)
class Pending:
    """A notification that has yet to be delivered; `attempts` so far. `subject` is what of the order
    it is about ("" the order as a whole)."""

    id: str
    order_id: int
    channel: str
    topic: str
    target: str
    attempts: int
    subject: str = ""


_FIELDS = ["id", "order_id", "channel", "topic", "subject", "target"]
_given = rows(*(notifications.c[name] for name in _FIELDS))
_ADD = InsertNew(
    notifications,
    [*_FIELDS, "state", "attempts", "due_at"],
    select(
        *_given.c,
        bindparam("state", "pending", type_=String),
        bindparam("attempts", 0),
        now(bindparam("lead", type_=Float)),
    ),
    conflict=["order_id", "channel", "topic", "subject"],
)
_PENDING = select(*(notifications.c[name] for name in [*_FIELDS, "attempts"])).where(
    notifications.c.state == "pending"
)
_OF_ORDERS = _PENDING.where(notifications.c.order_id.in_(ids()))


def _is_of(*statuses: Status) -> ColumnElement[bool]:
    """Whether the order has one of these."""
    return exists().where(
        orders.c.id == notifications.c.order_id, orders.c.status.in_(sorted(statuses))
    )


_confirms = notifications.c.topic == CONFIRMED
# Whoever was cancelled meanwhile is not told any more that all is well.
_holds_no_more = and_(_confirms, _is_of(*OVER)).label("holds_no_more")
_DUE = (
    _PENDING.add_columns(_holds_no_more)
    .where(
        notifications.c.due_at <= now(),
        or_(not_(_confirms), _is_of(Status.CONFIRMED, *OVER)),
    )
    .order_by(notifications.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_again = (notifications.c.attempts > 0).label("again")
_WAITING = (
    select(notifications.c.channel, _again, func.count().label("waiting"))
    .where(notifications.c.state == "pending")
    .group_by(notifications.c.channel, _again)
)
_result = rows(
    notifications.c.id, notifications.c.state, Column("delay", Float), notifications.c.error
)
_SETTLE = (
    update(notifications)
    .where(notifications.c.id == _result.c.id, notifications.c.state == "pending")
    .values(
        state=_result.c.state,
        error=_result.c.error,
        attempts=notifications.c.attempts + 1,
        due_at=case(
            (_result.c.state == "pending", now(_result.c.delay)), else_=notifications.c.due_at
        ),
    )
)
_dated = rows(notifications.c.id)
_POSTPONE = (
    update(notifications)
    .where(notifications.c.id == _dated.c.id)
    .values(due_at=now(bindparam("seconds", type_=Float)))
)
_HASTEN = (
    update(notifications)
    .where(
        notifications.c.state == "pending", notifications.c.attempts > 0,
        notifications.c.due_at > now(),
    )
    .values(due_at=now())
)  # fmt: skip
_WITHDRAW = update(notifications).where(notifications.c.id == _dated.c.id).values(state="withdrawn")


#: Not due for the background job while the stage that wrote it is about to send it.
LEAD = 60.0


def add(tx: Tx, new: Sequence[Pending], lead: float = LEAD) -> None:
    """Write notifications; of one subject of an order is told, on one channel, once. Who doesn't send
    them himself gives the job no `lead` (seconds)."""
    if not new:
        return
    packed = pack((n.id, n.order_id, n.channel, n.topic, n.subject, n.target) for n in new)
    _ADD(tx, {"rows": packed, "lead": lead})


def pending_of(tx: Tx, order_ids: Iterable[int]) -> list[Pending]:
    """What is yet to be delivered about these orders."""
    return [_pending(r) for r in tx.execute(_OF_ORDERS, {"ids": pack(order_ids)})]


def take_due(tx: Tx, most: int, seconds: float) -> tuple[list[Pending], int]:
    """Of up to `most` that are due those that hold still, postponed by `seconds` so that nobody else
    takes them meanwhile; and how many didn't, and are withdrawn."""
    found = tx.execute(_DUE, {"most": most}).all()
    taken = [_pending(r) for r in found if not r.holds_no_more]
    if taken:
        tx.execute(_POSTPONE, {"rows": pack((n.id,) for n in taken), "seconds": seconds})
    withdrawn = [(r.id,) for r in found if r.holds_no_more]
    if withdrawn:
        tx.execute(_WITHDRAW, {"rows": pack(withdrawn)})
    return taken, len(withdrawn)


def hasten(tx: Tx) -> None:
    """Whatever waits to be tried again is due. What has not been tried yet is being sent by who wrote it."""
    tx.execute(_HASTEN)


def waiting(tx: Tx) -> dict[tuple[str, bool], int]:
    """How many are yet to be delivered, by channel and whether they have been tried before. Reads
    nothing of what was delivered."""
    return {(r.channel, bool(r.again)): int(r.waiting) for r in tx.execute(_WAITING)}


def settle(tx: Tx, results: Sequence[tuple[str, str, float, str | None]]) -> None:
    """Write what became of deliveries: (id, state, seconds until the next attempt, error)."""
    if results:
        tx.execute(_SETTLE, {"rows": pack(results)})


def _pending(row: Any) -> Pending:
    return Pending(
        row.id, row.order_id, row.channel, row.topic, row.target, row.attempts, row.subject
    )
