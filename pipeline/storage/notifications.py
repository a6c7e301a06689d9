"""Notifications: written before they are sent, under an id that never changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Float, String, bindparam, case, exists, func, or_, select, update

from pipeline.notifications.message import CONFIRMED
from pipeline.order import Status
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
# Whoever was cancelled meanwhile is not told any more that all is well.
_still_holds = or_(
    notifications.c.topic != CONFIRMED,
    exists().where(orders.c.id == notifications.c.order_id, orders.c.status == Status.CONFIRMED),
)
_DUE = (
    _PENDING.where(notifications.c.due_at <= now(), _still_holds)
    .order_by(notifications.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
#: Long overdue: what is to be sent is taken within seconds, and postponed if it fails.
_OVERDUE = 3_600.0
_again = (notifications.c.attempts > 0).label("again")
_WAITING = (
    select(notifications.c.channel, _again, func.count().label("waiting"))
    .where(
        notifications.c.state == "pending",
        # A confirmation that doesn't hold any more stays for ever; its order, which says so, isn't read.
        or_(notifications.c.topic != CONFIRMED, notifications.c.due_at > now(-_OVERDUE)),
    )
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


def take_due(tx: Tx, most: int, seconds: float) -> list[Pending]:
    """Up to `most` that are due, postponed by `seconds` so that nobody else takes them meanwhile."""
    taken = [_pending(r) for r in tx.execute(_DUE, {"most": most})]
    if taken:
        tx.execute(_POSTPONE, {"rows": pack((n.id,) for n in taken), "seconds": seconds})
    return taken


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
