"""What a person (or an upstream system) may do to an order: cancel it, put it back to work.

Each is one transaction, is safe to repeat, and leaves the actor's name in the timeline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pipeline.chain import CHAINS, UNDO
from pipeline.engine.record import cancelled
from pipeline.errors import NotAllowedNow
from pipeline.order import Order, Status
from pipeline.storage import dispatches, orders
from pipeline.storage.database import Tx
from pipeline.storage.dispatches import NewDispatch
from pipeline.storage.orders import Move

Announcements = list[tuple[str, int]]


def cancel(tx: Tx, order_id: int, actor: str) -> Announcements:
    """Cancel an order wherever it is; what was done for it is undone. Announce what is returned
    after the commit. Twice is once; NotAllowedNow if it was rejected."""
    row = orders.lock(tx, order_id)
    status = Status(row.status)
    if status is Status.CANCELLED:
        return []
    if status is Status.REJECTED:
        raise NotAllowedNow(order_id, status, "cancelled")
    first = orders.request_cancel(tx, order_id, "cancelled", actor)
    if status in (Status.ON_HOLD, Status.CONFIRMED):
        return _begin_undo(tx, _load(tx, order_id), actor)
    return _hasten(tx, order_id) if first else []


def _load(tx: Tx, order_id: int) -> Order:
    return orders.load(tx, [order_id])[0].order


def _begin_undo(tx: Tx, order: Order, actor: str) -> Announcements:
    """Nobody works on it: send it to its undo ourselves."""
    move = cancelled(order, order.stage or None).move
    orders.move(tx, [move], actor)
    if move.stage is None:
        return []
    new = NewDispatch(move.stage, order.lane.rank, (order.id,))
    return [(move.stage, dispatches.add(tx, [new])[0])]


def _hasten(tx: Tx, order_id: int) -> Announcements:
    """It waits, or is being worked on. In the second case the record will see the flag; in the
    first let its turn come now, alone, rather than when the others of its dispatch are due."""
    waiting = dispatches.lock_waiting(tx, order_id)
    if waiting is None:
        return []
    dispatch, delay = waiting
    others = tuple(i for i in dispatch.order_ids if i != order_id)
    parts = [NewDispatch(dispatch.step, dispatch.lane, (order_id,), attempts=dispatch.attempts)]
    if others:
        parts.append(
            NewDispatch(
                dispatch.step, dispatch.lane, others, delay, dispatch.attempts, dispatch.deaths
            )
        )
    dispatches.remove(tx, [dispatch.id])
    return [(dispatch.step, dispatches.add(tx, parts)[0])]


def requeue(tx: Tx, order_ids: Sequence[int], actor: str) -> Announcements:
    """Put orders on hold back to work where they were held; hold rules no longer apply to them.

    All or none: UnknownOrder or NotAllowedNow names the first that can't be. Announce what is
    returned after the commit.
    """
    rows = {i: orders.lock(tx, i) for i in sorted(set(order_ids))}
    for order_id, row in rows.items():
        if row.status != Status.ON_HOLD:
            raise NotAllowedNow(order_id, row.status, "requeued")
    orders.move(tx, [_resumed(order_id, row) for order_id, row in rows.items()], actor)
    due: dict[tuple[str, int], list[int]] = defaultdict(list)
    for order_id, row in rows.items():
        due[(row.stage, row.lane)].append(order_id)
    made = dispatches.add(tx, [NewDispatch(*key, tuple(ids)) for key, ids in due.items()])
    return [(step, i) for (step, _), i in zip(due, made, strict=True)]


def _resumed(order_id: int, row: Any) -> Move:
    """Pure: back to where it was held; one that is being undone keeps why."""
    undoing = row.stage.startswith(UNDO)
    target = Status.CANCELLING if undoing else CHAINS[row.chain].link(row.stage).source
    cause = "cancelled" if row.cancel_requested_at else row.reason
    reason = cause if undoing else None
    return Move(order_id, Status.ON_HOLD, target, row.stage, "requeued", reason, approve=True)
