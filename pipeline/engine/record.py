"""Record: what the step said of each order becomes moves, dispatches and counters, in one transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.backoff import Backoff
from pipeline.chain import CHAINS, UNDO
from pipeline.engine.claim import Batch
from pipeline.errors import InvariantBroken, LeaseLost
from pipeline.event_kind import EventKind
from pipeline.order import Order, Status
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.storage import counters, dispatches, orders
from pipeline.storage.database import Tx
from pipeline.storage.dispatches import NewDispatch
from pipeline.storage.orders import Move

#: Of a stage that doesn't say itself when an order is looked at again.
BACKOFF = Backoff(first=1.0, longest=600.0)

ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Next:
    """Where an order goes: its move, and how long until it is due there. If it waits, why and how
    often it was looked at for that. If it `waits_on`, as it did before, nothing has happened: it is
    counted, and its timeline stays as it is. An outage of a night would add thousands of events to
    each order, all of them the same."""

    order: Order
    move: Move
    delay: float = 0.0
    attempts: int = 0
    cause: str | None = None
    looks: int = 0
    waits_on: bool = False


@dataclass(frozen=True, slots=True)
class CarryOn:
    """Lets the same worker go on with the orders that advanced: they are leased from birth.

    `steps` are those this worker serves now; a paused one is not among them.
    """

    steps: frozenset[str]
    token: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """`announce`: dispatches due now that need a wake-up, as (step, id). `carried`: the next batch.
    `moves`: what became of the orders."""

    announce: list[tuple[str, int]]
    carried: Batch | None
    moves: list[Move]


def decide(order: Order, step: str, outcome: Outcome, most_attempts: int) -> Next:
    """Pure: what becomes of `order` after `step` said `outcome`."""
    if isinstance(outcome, Retry) and not (outcome.burns and order.attempt >= most_attempts):
        return _retried(order, step, outcome)
    if isinstance(outcome, Advance):
        following = _advanced(order, step, outcome)
    elif isinstance(outcome, Reject):
        following = _rejected(order, step, outcome)
    else:
        following = _held(order, step, outcome)
    return _after_a_wait(following)


def _after_a_wait(following: Next) -> Next:
    """The event that ends a wait tells how often the order was looked at meanwhile."""
    order, move = following.order, following.move
    if order.looks < 2:  # of one look there is the event
        return following
    detail = {**(move.detail or {}), "waited_for": order.cause, "looks": order.looks}
    return replace(following, move=replace(move, detail=detail))


def _advanced(order: Order, step: str, outcome: Advance) -> Next:
    chain = CHAINS[order.chain]
    if step.startswith(UNDO):
        following = chain.undo_after(step)
        target = Status.CANCELLING if following else Status.CANCELLED
        kind = EventKind.UNDONE
    else:
        following = chain.after(step)
        target = chain.link(step).target
        kind = EventKind.ADVANCED
    move = Move(
        order.id, order.status, target, following, kind,
        reason=None if kind is EventKind.ADVANCED else order.reason,
        detail=dict(outcome.detail), at_stage=step, unless_cancelled=kind is EventKind.ADVANCED,
    )  # fmt: skip
    return Next(order, move)


def _rejected(order: Order, step: str, outcome: Reject) -> Next:
    first_undo = CHAINS[order.chain].undo_from(step, inclusive=outcome.had_effect)
    target = Status.CANCELLING if first_undo else Status.REJECTED
    move = Move(
        order.id, order.status, target, first_undo, EventKind.REJECTED, outcome.reason,
        dict(outcome.detail), at_stage=step,
    )  # fmt: skip
    return Next(order, move)


def _retried(order: Order, step: str, outcome: Retry) -> Next:
    target = outcome.aside or order.status
    waits_on = order.cause == outcome.reason and target is order.status
    delay = BACKOFF.after(order.attempt) if outcome.after is None else outcome.after
    detail = {**outcome.detail, "attempt": order.attempt, "delay": round(delay, 1)}
    reason = outcome.reason
    if step.startswith(UNDO) and order.reason:  # why it is being undone outlives a retry of it
        detail["cause"], reason = reason, order.reason
    move = Move(
        order.id, order.status, target, step, EventKind.RETRIED, reason, detail,
        at_stage=step, unless_cancelled=not step.startswith(UNDO),
    )  # fmt: skip
    attempts = order.attempt if outcome.burns else order.attempt - 1
    looks = order.looks + 1 if waits_on else 1
    following = Next(order, move, delay, attempts, outcome.reason, looks, waits_on)
    return following if waits_on else _after_a_wait(following)


def _held(order: Order, step: str, outcome: Retry | Hold) -> Next:
    detail = dict(outcome.detail)
    if isinstance(outcome, Retry):
        detail["gave_up_after"] = order.attempt
    # A cancellation that came in between goes ahead of the hold, unless it is what failed.
    move = Move(
        order.id, order.status, Status.ON_HOLD, step, EventKind.HELD, outcome.reason, detail,
        at_stage=step, unless_cancelled=not step.startswith(UNDO),
    )  # fmt: skip
    return Next(order, move)


def cancelled(order: Order, at: str | None) -> Next:
    """Pure: where an order goes whose cancellation was asked for while it was `at` a step.

    The step itself may have had an effect in an earlier attempt, so its undo is included; undoing
    nothing is harmless.
    """
    if at is not None and at.startswith(UNDO):  # it is on hold in the middle of being undone
        first_undo: str | None = at
    else:
        first_undo = CHAINS[order.chain].undo_from(at, inclusive=True)
    target = Status.CANCELLING if first_undo else Status.CANCELLED
    move = Move(
        order.id, order.status, target, first_undo, EventKind.CANCELLED, "cancelled", at_stage=at
    )
    return _after_a_wait(Next(order, move))


def hand_back(tx: Tx, batch: Batch) -> None:
    """Give up the dispatches we hold; LeaseLost if another worker has any of them by now.

    Before all else that a transaction writes for the batch: what another has recorded meanwhile
    would look like a defect of the orders, and dispatches come first in the lock order.
    """
    if not dispatches.finish(tx, batch.dispatch_ids, batch.token):
        raise LeaseLost(batch.token)


def record(
    tx: Tx,
    batch: Batch,
    outcomes: Sequence[Outcome],
    most_attempts: int,
    carry_on: CarryOn | None,
) -> Recorded:
    """Write what became of every order of a batch that was handed back in this transaction."""
    if len(outcomes) != len(batch.orders):
        raise InvariantBroken(
            f"{batch.step} returned {len(outcomes)} outcomes for {len(batch.orders)} orders"
        )
    nexts = [
        decide(order, batch.step, outcome, most_attempts)
        for order, outcome in zip(batch.orders, outcomes, strict=True)
    ]
    nexts += [cancelled(order, batch.step) for order in batch.cancelled]
    if batch.cancelled:  # orders are locked in order of id, by whoever locks several
        nexts.sort(key=lambda n: n.order.id)
    nexts = _move(tx, nexts)
    counters.add(tx, batch.step, Counter(n.move.kind for n in nexts))
    return _succeed(tx, nexts, carry_on)


def _move(tx: Tx, nexts: list[Next]) -> list[Next]:
    """Move all; those whose cancellation came in between are sent to be undone instead."""
    won = _waiting_on(tx, nexts)  # first: it locks all, in order of id
    won |= orders.move(tx, [n.move for n in nexts if not n.waits_on], ENGINE)
    lost = [n for n in nexts if n.move.order_id not in won]
    if not lost:
        return nexts
    diverted = [cancelled(n.order, n.move.at_stage) for n in lost]
    if len(orders.move(tx, [n.move for n in diverted], ENGINE)) < len(diverted):
        raise InvariantBroken(
            f"orders {[n.move.order_id for n in lost]} were moved by another while we held them"
        )
    return [n for n in nexts if n.move.order_id in won] + diverted


def _waiting_on(tx: Tx, nexts: Sequence[Next]) -> set[int]:
    """Those that wait on, and may: nobody has moved or cancelled them, nor can until the end of the
    transaction."""
    waiting = [n.move for n in nexts if n.waits_on]
    if not waiting:
        return set()
    rows = orders.lock_live(tx, [n.order.id for n in nexts])
    return {
        move.order_id
        for move in waiting
        if (row := rows.get(move.order_id)) is not None
        and row.status == move.source
        and not (move.unless_cancelled and row.cancel_requested_at is not None)
    }


def _succeed(tx: Tx, nexts: Sequence[Next], carry_on: CarryOn | None) -> Recorded:
    """Write the successors: one dispatch for all that go to the same step at the same time."""
    groups: dict[_Group, list[Next]] = defaultdict(list)
    for following in nexts:
        move = following.move
        if move.stage is None or move.target is Status.ON_HOLD:
            continue
        # Retries of one batch share a dispatch while their jitter falls into the same second.
        delay = float(round(following.delay)) if following.delay > 1 else following.delay
        lane = following.order.lane.rank
        key = (move.stage, lane, delay, following.attempts, following.cause)
        groups[key].append(following)
    carried = _most_advanced(groups, carry_on)
    keys = list(groups)
    made = dispatches.add(
        tx, [_dispatch(k, groups[k], carry_on if k == carried else None) for k in keys]
    )
    announce = [(k[0], i) for k, i in zip(keys, made, strict=True) if k != carried and k[2] == 0]
    moves = [n.move for n in nexts]
    if carried is None or carry_on is None:
        return Recorded(announce, None, moves)
    batch = Batch(
        carried[0],
        carry_on.token,
        (made[keys.index(carried)],),
        [_moved(n) for n in groups[carried]],
    )
    return Recorded(announce, batch, moves)


_Group = tuple[str, int, float, int, str | None]


def _most_advanced(groups: dict[_Group, list[Next]], carry_on: CarryOn | None) -> _Group | None:
    """The group to go on with at once: the largest that is due now at a stage we serve."""
    if carry_on is None:
        return None
    candidates = [
        key
        for key in groups
        if key[2] == 0 and key[0] in carry_on.steps and not key[0].startswith(UNDO)
    ]
    return max(candidates, key=lambda key: len(groups[key]), default=None)


def _dispatch(key: _Group, members: Sequence[Next], carry_on: CarryOn | None) -> NewDispatch:
    step, lane, delay, attempts, cause = key
    members = sorted(members, key=lambda n: n.order.id)
    return NewDispatch(
        step,
        lane,
        tuple(n.order.id for n in members),
        delay,
        attempts + (carry_on is not None),  # carried on is claimed: the attempt counts now
        lease=carry_on.token if carry_on else None,
        leased_for=carry_on.seconds if carry_on else None,
        cause=cause,
        looks=tuple(n.looks for n in members) if cause else (),
    )


def _moved(following: Next) -> Order:
    move = following.move
    moved = following.order.at(move.target, move.stage or "", following.attempts + 1)
    moved.cause, moved.looks = following.cause, following.looks
    return moved
