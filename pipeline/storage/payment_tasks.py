"""Payment tasks: an operation that is to be done. Refund lines: what a refund was for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from pipeline.chain import PAYMENT_UNDONE
from pipeline.order import Status
from pipeline.storage.database import Tx
from pipeline.storage.payments import bounced
from pipeline.storage.sql import now, pack, rows
from pipeline.storage.tables import orders, payment_operations, payment_tasks, refund_lines

Key = tuple[int, str]  # order id, operation's key


@dataclass(frozen=True, slots=True)
class DueTask:
    """A task that was taken; `attempts` counts this one."""

    order_id: int
    key: str
    attempts: int


_key = rows(payment_tasks.c.order_id, payment_tasks.c.key)
_is_it = and_(payment_tasks.c.order_id == _key.c.order_id, payment_tasks.c.key == _key.c.key)
_ADD = insert(payment_tasks).from_select(
    ["order_id", "key", "attempts", "due_at"], select(*_key.c, bindparam("none_yet", 0), now())
)


def add(tx: Tx, keys: Sequence[Key]) -> None:
    """Write tasks, due now."""
    if keys:
        tx.execute(_ADD, {"rows": pack(keys)})


# An order that is being undone looks after its operations itself, until its payment is undone.
_is_undone = exists().where(
    orders.c.id == payment_tasks.c.order_id,
    orders.c.status.in_([Status.CANCELLING, Status.ON_HOLD]),
    not_(or_(*(and_(orders.c.chain == c, orders.c.stage == s) for c, s in sorted(PAYMENT_UNDONE)))),
)
_DUE = (
    select(payment_tasks.c.order_id, payment_tasks.c.key)
    .where(payment_tasks.c.due_at <= now(), ~_is_undone)
    .order_by(payment_tasks.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(of=payment_tasks, skip_locked=True)
)
_is_among = tuple_(payment_tasks.c.order_id, payment_tasks.c.key).in_(select(*_key.c))
_DUE_OF_THESE = _DUE.where(_is_among)
_LEASE = (
    update(payment_tasks)
    .where(_is_it)
    .values(attempts=payment_tasks.c.attempts + 1, due_at=now(bindparam("seconds", type_=Float)))
    .returning(payment_tasks.c.order_id, payment_tasks.c.key, payment_tasks.c.attempts)
)


def take_due(
    tx: Tx, most: int, seconds: float, only: Collection[Key] | None = None
) -> list[DueTask]:
    """Up to `most` that are due (of `only` these), postponed by `seconds` so that nobody else takes
    them meanwhile. The attempt is counted before the work."""
    if only is None:
        found = tx.execute(_DUE, {"most": most})
    else:
        found = tx.execute(_DUE_OF_THESE, {"most": most, "rows": pack(only)})
    keys = [(r.order_id, r.key) for r in found]
    if not keys:
        return []
    leased = tx.execute(_LEASE, {"rows": pack(keys), "seconds": seconds})
    taken = {(r.order_id, r.key): DueTask(*r) for r in leased}
    return [taken[key] for key in keys]


_later = rows(payment_tasks.c.order_id, payment_tasks.c.key, Column("delay", Float))
_POSTPONE = (
    update(payment_tasks)
    .where(payment_tasks.c.order_id == _later.c.order_id, payment_tasks.c.key == _later.c.key)
    .values(due_at=now(_later.c.delay))
)


def postpone(tx: Tx, tasks: Sequence[tuple[int, str, float]]) -> None:
    """Try these again after so many seconds."""
    if tasks:
        tx.execute(_POSTPONE, {"rows": pack(tasks)})


_END = (
    delete(payment_tasks).where(_is_among).returning(payment_tasks.c.order_id, payment_tasks.c.key)
)


def end(tx: Tx, keys: Iterable[Key]) -> set[Key]:
    """Delete the tasks of these operations. Returns those that there were: of two who end one, one
    has it."""
    packed = pack(keys)
    return {(r.order_id, r.key) for r in tx.execute(_END, {"rows": packed})}


_line = rows(*refund_lines.c)
_LINES = insert(refund_lines).from_select(list(refund_lines.c.keys()), select(*_line.c))


def add_lines(tx: Tx, lines: Sequence[tuple[int, str, int, int, int]]) -> None:
    """What refunds are for: (order id, the refund's key, line number, units, amount)."""
    if lines:
        tx.execute(_LINES, {"rows": pack(lines)})


def _is(state: str) -> ColumnElement[bool]:
    its = payment_operations.alias()
    return exists(
        select(its.c.key).where(
            its.c.order_id == refund_lines.c.order_id,
            its.c.key == refund_lines.c.key,
            its.c.state == state,
        )
    )


# One that was found to have succeeded after all has, unless the customer's bank sent it back.
_has_bounced = exists(
    select(payment_operations.c.key).where(
        payment_operations.c.order_id == refund_lines.c.order_id,
        payment_operations.c.key == refund_lines.c.key,
        bounced(payment_operations),
    )
)
_failed = or_(and_(_is("failed"), not_(_is("succeeded"))), _has_bounced)
_REFUNDED = (
    select(refund_lines.c.line_no, refund_lines.c.units, refund_lines.c.amount)
    .where(refund_lines.c.order_id == bindparam("of_order"), not_(_failed))
)  # fmt: skip


def refunded_lines(tx: Tx, order_id: int) -> dict[int, tuple[int, int]]:
    """By line number, the units and the amount that are refunded or on their way."""
    found: dict[int, tuple[int, int]] = {}
    for r in tx.execute(_REFUNDED, {"of_order": order_id}):
        units, amount = found.get(r.line_no, (0, 0))
        found[r.line_no] = units + r.units, amount + r.amount
    return found
