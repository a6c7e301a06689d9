"""What a person (or an upstream system) may do to an order: cancel it, put it back to work, decide
what no stage can know, give money back, take what was only authorized, record what no machine moves.

Each is one transaction under the order's lock, and leaves the actor's name in the timeline.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline import part_cancel, typed
from pipeline.chain import CHAINS, UNDO
from pipeline.decisions import Decision
from pipeline.engine.record import cancelled
from pipeline.errors import InvalidInput, NotAllowedNow, UnknownOrder
from pipeline.event_kind import EventKind
from pipeline.hold_rules import countries_held
from pipeline.intake.accept import DISPATCH_SIZE
from pipeline.money import to_text
from pipeline.order import Status
from pipeline.payments import amounts, captures, late_money, refunds, tasks
from pipeline.payments.account import OBSERVED, Account, Operation, fold, follow_up, latest_of
from pipeline.payments.gateway import capture_key
from pipeline.payments.gateways import moves_money
from pipeline.payments.refunds import Part
from pipeline.problems import fit_to_show
from pipeline.storage import (
    archive,
    dispatches,
    fulfilment,
    orders,
    payment_tasks,
    payments,
    quotes,
    rules,
)
from pipeline.storage.database import Tx
from pipeline.storage.dispatches import NewDispatch
from pipeline.storage.orders import Move, Note
from pipeline.storage.sources import all_sources
from pipeline.typed import text

Announcements = list[tuple[str, int]]

#: Reasons for which a source's policy holds orders, until a person lets them pass.
HOLD_RULES = frozenset({"country_held", "amount_over_limit"})


def cancel(tx: Tx, order_id: int, actor: str) -> Announcements:
    """Cancel an order wherever it is; what was done for it is undone. Of one of which part was
    shipped, what was not is cancelled. Announce what is returned after the commit. Twice is once;
    NotAllowedNow if it was rejected, or all was shipped."""
    row = orders.lock(tx, order_id)
    status = Status(row.status)
    if status is Status.CANCELLED:
        return []
    if status is Status.REJECTED:
        raise NotAllowedNow(order_id, status, "cancelled")
    if status is Status.CONFIRMED and fulfilment.outside(tx, order_id):
        part_cancel.cancel_rest(tx, row, actor)
        return []
    first = orders.request_cancel(tx, [order_id], "cancelled", actor)
    if status in (Status.ON_HOLD, Status.CONFIRMED):
        return _dispatch(tx, _begin_undo(tx, [order_id], actor))
    return hasten(tx, [order_id]) if first else []


@dataclass(frozen=True, slots=True)
class Going:
    """An order that was moved, and goes on at a step in its lane."""

    order_id: int
    step: str
    lane: int


def _begin_undo(
    tx: Tx, order_ids: Collection[int], actor: str, reason: str = "cancelled"
) -> list[Going]:
    """Nobody works on them: send them to their undo ourselves."""
    loaded = [each.order for each in orders.load(tx, order_ids)]
    moves = {
        order.id: replace(cancelled(order, order.stage or None).move, reason=reason)
        for order in loaded
    }
    won = orders.move(tx, list(moves.values()), actor)
    return [
        Going(order.id, step, order.lane.rank)
        for order in loaded
        if order.id in won and (step := moves[order.id].stage) is not None
    ]


def cancel_held(tx: Tx, held: Mapping[int, Any], actor: str) -> list[Going]:
    """Cancel orders on hold, given as rows by id that this transaction has locked; those that have
    something to be undone are to be dispatched."""
    orders.request_cancel(tx, held, "cancelled", actor)
    return _begin_undo(tx, held, actor)


def due(going: Sequence[Going], delay: float = 0.0) -> list[NewDispatch]:
    """The fullest dispatches that take these orders on, due in `delay` seconds."""
    queues: dict[tuple[str, int], list[int]] = defaultdict(list)
    for each in going:
        queues[(each.step, each.lane)].append(each.order_id)
    return [
        NewDispatch(step, lane, tuple(ids[start : start + DISPATCH_SIZE]), delay)
        for (step, lane), ids in queues.items()
        for start in range(0, len(ids), DISPATCH_SIZE)
    ]


def _dispatch(tx: Tx, going: Sequence[Going]) -> Announcements:
    new = due(going)
    return [(d.step, i) for d, i in zip(new, dispatches.add(tx, new), strict=True)]


def expire_held(
    tx: Tx, limits: Mapping[int, float], most: int, actor: str
) -> tuple[int, Announcements]:
    """Cancel up to `most` orders that nobody has decided on within their source's limit (seconds, by
    source id): how many, and what to announce after the commit. Those that are held in the middle of
    being undone stay: no time makes up for what a person must settle."""
    held = orders.lock_held(tx, limits, most)
    if not held:
        return 0, []
    orders.request_cancel(tx, held, "hold_expired", actor)
    return len(held), _dispatch(tx, _begin_undo(tx, held, actor, "hold_expired"))


def hasten(tx: Tx, order_ids: Collection[int]) -> Announcements:
    """These wait, or are being worked on. In the second case the record will see what changed; in
    the first let their turn come now, rather than when the others of their dispatch are due."""
    return dispatches.hasten(tx, dispatches.lock_waiting(tx, order_ids), order_ids)


def requeue(tx: Tx, order_ids: Sequence[int], actor: str) -> Announcements:
    """Put orders on hold back to work where they were held; if a hold rule held them, hold rules
    no longer apply to them.

    All or none: UnknownOrder or NotAllowedNow names the first that can't be. Announce what is
    returned after the commit.
    """
    wanted = set(order_ids)
    rows = orders.lock_all(tx, wanted)
    if unknown := wanted - rows.keys():
        raise UnknownOrder(min(unknown))
    for order_id, row in rows.items():
        if row.status != Status.ON_HOLD:
            raise NotAllowedNow(order_id, row.status, "requeued")
    return _dispatch(tx, requeue_held(tx, rows, actor))


def requeue_held(tx: Tx, held: Mapping[int, Any], actor: str) -> list[Going]:
    """Put orders on hold, given as rows by id that this transaction has locked, back to work; they
    are to be dispatched."""
    undoing = [i for i, row in held.items() if row.stage.startswith(UNDO)]
    causes = orders.causes(tx, undoing) if undoing else {}
    moves = [_resumed(i, row, causes.get(i)) for i, row in held.items()]
    won = orders.move(tx, moves, actor)
    return [Going(i, row.stage, row.lane) for i, row in held.items() if i in won]


def decide(tx: Tx, order_ids: Sequence[int], decision: Decision, actor: str) -> Announcements:
    """Decide about orders on hold, and put them back to work: the stage that held each reads what was
    decided.

    All or none: UnknownOrder, or NotAllowedNow for the first that isn't on hold for a reason that
    the decision answers; InvalidInput if its rules have no such tax zone. Announce what is returned
    after the commit.
    """
    wanted = set(order_ids)
    rows = orders.lock_all(tx, wanted)
    if unknown := wanted - rows.keys():
        raise UnknownOrder(min(unknown))
    return _dispatch(tx, decide_held(tx, rows, actor, decision))


def decide_held(tx: Tx, held: Mapping[int, Any], actor: str, decision: Decision) -> list[Going]:
    """As `decide`, of orders given as rows by id that this transaction has locked; they are to be
    dispatched."""
    for order_id, row in held.items():
        _require_answered(order_id, row, decision)
    if decision.kind.name == "tax_zone":
        _require_zone(tx, held, decision.value)
    known = orders.decided(tx, held)
    decided = {i: decision.added_to(before) for i, before in known.items()}
    if decision.kind.name == "ship_to":
        orders.withdraw_approval(tx, _held_elsewhere(tx, held, decided))
    orders.write_decided(tx, decided)
    moves = [_decided(i, row, decision) for i, row in held.items()]
    won = orders.move(tx, moves, actor)
    return [
        Going(m.order_id, m.stage, held[m.order_id].lane)
        for m in moves
        if m.order_id in won and m.stage
    ]


def _held_elsewhere(tx: Tx, held: Mapping[int, Any], decided: Mapping[int, str]) -> list[int]:
    """Orders that were let pass, and whose address as it is `decided` now is in a country that their
    source holds, and the address before was not: nobody has let that one pass."""
    found, approved = [], [i for i, row in held.items() if row.approved]
    for order in (each.order for each in orders.load(tx, approved)) if approved else ():
        rule = order.source.policy.hold_countries
        after = replace(order, decided=json.loads(decided[order.id]))
        if countries_held(rule, after.ship_to) - countries_held(rule, order.ship_to):
            found.append(order.id)
    return found


def _require_answered(order_id: int, row: Any, decision: Decision) -> None:
    kind = decision.kind
    if row.status != Status.ON_HOLD:
        raise NotAllowedNow(order_id, row.status, "decided about")
    if row.reason not in kind.answers:
        answered = " or ".join(sorted(kind.answers))
        raise NotAllowedNow(
            order_id, f"on hold for {row.reason}", f"decided about by {kind.name}",
            f": that answers {answered}",
        )  # fmt: skip


def _require_zone(tx: Tx, held: Mapping[int, Any], zone: str) -> None:
    sources = all_sources(tx)
    names = {sources[row.source_id].policy.rules for row in held.values()}
    for name, version in sorted(rules.newest(tx, names).items()):
        if zone not in (known := {z.name for z in version.rules.rules.tax.zones}):
            expected = (
                f"one of {', '.join(sorted(known)[:20])}" if known else "none: they have no zone"
            )
            raise InvalidInput(
                f"tax_zone: got {fit_to_show(zone)}, expected a tax zone of the rules {name!r}: {expected}"
            )


def _decided(order_id: int, row: Any, decision: Decision) -> Move:
    """Pure: back to where it was held; with another address from the start, as hold rules ask where
    it goes. (Of what is held after it had an effect no decision changes the address.)"""
    chain = CHAINS[row.chain]
    from_start = decision.kind.name == "ship_to" and not chain.undo_from(row.stage, inclusive=True)
    link = chain.links[0] if from_start else chain.link(row.stage)
    return Move(
        order_id, Status.ON_HOLD, link.source, link.stage, EventKind.DECIDED, detail=decision.told
    )


def _resumed(order_id: int, row: Any, cause: str | None) -> Move:
    """Pure: back to where it was held; one that is being undone tells its `cause`, not the hold's."""
    undoing = row.stage.startswith(UNDO)
    target = Status.CANCELLING if undoing else CHAINS[row.chain].link(row.stage).source
    reason = (cause or row.reason) if undoing else None
    # Leave is given to what was seen: who requeues for want of a tax rate has seen no total.
    approve = row.reason in HOLD_RULES
    return Move(
        order_id, Status.ON_HOLD, target, row.stage, EventKind.REQUEUED, reason, approve=approve
    )


def restore(tx: Tx, order_ids: Collection[int], actor: str) -> None:
    """Bring archived orders back, all or none; one that isn't archived stays as it is. UnknownOrder
    names the first that there is not."""
    archive.restore(tx, order_ids, actor)
    if unknown := set(order_ids) - orders.lock_live(tx, order_ids).keys():
        raise UnknownOrder(min(unknown))


# --- Money, after the sale ------------------------------------------------------------------------


def refund(
    tx: Tx,
    order_id: int,
    actor: str,
    *,
    amount: int | None = None,
    lines: Mapping[int, int] | None = None,
    shipping: bool = False,
    reason: str | None = None,
) -> Operation:
    """Ask for a refund of a confirmed order: an `amount`, or units of `lines` (by number) and
    `shipping`, or all that is left. To be done by `TaskRunner.run`, at once or by the job.

    InvalidInput says what can be refunded; NotAllowedNow if the order isn't confirmed.
    """
    by_parts = bool(lines) or shipping
    if by_parts and amount is not None:
        raise InvalidInput("a refund is of an amount, or of lines and shipping, not of both")
    row = _lock(tx, order_id, {Status.CONFIRMED}, "refunded")
    account = _account(tx, order_id)
    authorization = captures.authorization_of(order_id, account)
    if not moves_money(authorization.gateway):
        raise InvalidInput(
            f"order {order_id} was paid by hand: pay it back, then "
            f"`ordermill payments record-refund {order_id} --reference …`"
        )
    step = amounts.step_of(authorization)
    parts = _parts(tx, order_id, lines or {}, shipping=shipping, step=step) if by_parts else []
    if by_parts:
        amount = sum(part.amount for part in parts)
    amount = account.refundable if amount is None else amount
    captures.require_within(order_id, amount, account.refundable, row.currency, "can be refunded")
    if amount != account.refundable:  # all that is left is what was taken
        captures.require_payable(order_id, amount, authorization)
    operation = follow_up(authorization, "refund", amount, uuid.uuid4().hex)
    detail = {"lines": {part.line_no: part.units for part in parts}} if parts else {}
    payment_tasks.add_lines(tx, refunds.rows_of(operation, parts))
    tasks.request(tx, [operation], actor, text("reason", reason, 64), **detail)
    return operation


def _parts(
    tx: Tx, order_id: int, lines: Mapping[int, int], *, shipping: bool, step: int
) -> list[Part]:
    quote = quotes.read(tx, [order_id])[order_id]
    refunded = refunds.or_unpaid(
        payment_tasks.refunded_lines(tx, order_id),
        fulfilment.cancelled(tx, [order_id]).get(order_id, ()),
    )
    return refunds.parts(order_id, quote, refunded, lines, shipping=shipping, step=step)


#: Paid for, as far as its authorization goes, and not on its way back.
_PAID = {Status.PAID, Status.RESERVED, Status.BACKORDERED, Status.CONFIRMED}


def capture(tx: Tx, order_id: int, actor: str, amount: int | None = None) -> Operation:
    """Ask for the one capture of what an order has authorized, all that is due or `amount`; the rest
    is released. To be done by `TaskRunner.run`, at once or by the job. Errors as for `refund`."""
    _lock(tx, order_id, _PAID, "captured")
    written = payments.read(tx, [order_id])[order_id]
    operation = captures.wanted(order_id, written, _unpaid(tx, order_id), amount)
    tasks.request(tx, [operation], actor)
    return operation


def _unpaid(tx: Tx, order_id: int) -> int:
    """What of its authorization is due no more: units cancelled before it was captured."""
    return fulfilment.unpaid(tx, [order_id]).get(order_id, 0)


def record_payment(
    tx: Tx, order_id: int, actor: str, reference: str, amount: int | None = None
) -> Announcements:
    """The money of an order on invoice terms has come, under the bank's `reference`: all that is due,
    or `amount`. An order that waited for it goes on. The same again is once. Announce what is returned
    after the commit; InvalidInput says what is wrong."""
    row = orders.lock(tx, order_id)
    reference = typed.name("reference", reference, 64)
    written = payments.read(tx, [order_id])[order_id]
    authorization = _by_hand(order_id, written)
    due = authorization.amount - _unpaid(tx, order_id)
    amount = due if amount is None else amount
    known = next((op for op in latest_of(written) if op.kind == "capture"), None)
    if known is not None and known.state == "succeeded":
        if (known.reference, known.amount) == (reference, amount):
            return []
        raise InvalidInput(f"order {order_id} is recorded as paid, under {known.reference}")
    captures.require_within(order_id, amount, due, row.currency, "are due")
    if row.stage == "pay" and amount < due:
        raise InvalidInput(
            f"order {order_id} waits for {to_text(due, row.currency)} "
            f"{row.currency}, {to_text(amount, row.currency)} were recorded"
        )
    paid = replace(authorization, state="succeeded", code=OBSERVED)
    captured = replace(
        paid, key=capture_key(paid.key), kind="capture", amount=amount, reference=reference
    )
    payments.add(tx, [paid, captured])
    orders.note(tx, [Note(order_id, EventKind.CAPTURED, reference, tasks.told(captured))], actor)
    if tasks.is_too_late(row):
        account = fold([*written, paid, captured])
        return late_money.settle(tx, {order_id: (row, account)}, actor).announcements
    return hasten(tx, [order_id]) if row.stage == "pay" and row.status != Status.ON_HOLD else []


def record_refund(
    tx: Tx, order_id: int, actor: str, reference: str, amount: int | None = None
) -> Announcements:
    """A person has paid an order on invoice terms back, under the bank's `reference`: all that we
    have of it, or `amount`. If its undo was held for that, it goes on. The same again is once.
    Announce what is returned after the commit; InvalidInput says what is wrong."""
    row = orders.lock(tx, order_id)
    reference = typed.name("reference", reference, 64)
    written = payments.read(tx, [order_id])[order_id]
    authorization, account = _by_hand(order_id, written), fold(written)
    known = next((op for op in latest_of(written) if op.key == reference), None)
    if known is not None:
        if amount in (None, known.amount):
            return []
        raise InvalidInput(
            f"order {order_id}: {reference} is recorded with "
            f"{to_text(known.amount, known.currency)} {known.currency}"
        )
    amount = account.owed if amount is None else amount
    captures.require_within(order_id, amount, account.owed, row.currency, "are to be paid back")
    done = replace(
        follow_up(authorization, "refund", amount, reference),
        state="succeeded", reference=reference, code=OBSERVED,
    )  # fmt: skip
    payments.add(tx, [done])
    detail = tasks.told(done, tasks.splits(tx, [done]))
    orders.note(tx, [Note(order_id, EventKind.REFUNDED, reference, detail)], actor)
    is_held = row.status == Status.ON_HOLD and row.stage == f"{UNDO}pay"
    return requeue(tx, [order_id], actor) if is_held and amount == account.owed else []


def _by_hand(order_id: int, written: Sequence[Operation]) -> Operation:
    ours = [op for op in latest_of(written) if op.kind == "authorize"]
    if not ours or moves_money(ours[-1].gateway):
        raise InvalidInput(
            f"order {order_id} is not paid by hand; "
            "only money that no machine moves is recorded, the rest is read from the gateway"
        )
    return ours[-1]


def _lock(tx: Tx, order_id: int, allowed: Collection[Status], action: str) -> Any:
    row = orders.lock(tx, order_id)
    if row.status not in allowed:
        raise NotAllowedNow(order_id, row.status, action)
    return row


def _account(tx: Tx, order_id: int) -> Account:
    return fold(payments.read(tx, [order_id])[order_id])
