"""Cancelling what was not shipped of an order of which part was: the rest stays sold.

Units go back to those who wait for them, and their share of what was paid to the customer, in one
transaction; shipping is kept. Nothing is undone: the order stays confirmed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import InvalidInput, NotAllowedNow
from pipeline.event_kind import EventKind
from pipeline.inventory.allocation import Allotment
from pipeline.money import to_text
from pipeline.notifications import outbox
from pipeline.payments import amounts, late_money, refunds, tasks
from pipeline.payments.account import BY_HAND, Account, Operation, fold, follow_up
from pipeline.payments.gateways import moves_money
from pipeline.payments.refunds import CancelledLine, Part, Refunded
from pipeline.pricing.quote import Quote
from pipeline.storage import fulfilment, orders, payment_tasks, payments, quotes, stock
from pipeline.storage.database import Tx
from pipeline.storage.orders import Note


def cancel_rest(tx: Tx, row: Any, actor: str) -> None:
    """Cancel what is left to ship of the confirmed order of `row`, which is locked, and of which
    part was shipped. Its refund has a task. Twice is once; NotAllowedNow if nothing is left."""
    order_id = row.id
    held = fulfilment.held(tx, [order_id])
    if not held:
        if fulfilment.cancelled(tx, [order_id]):
            return
        instead = f"; if its goods come back, `ordermill orders return {order_id} …`"
        raise NotAllowedNow(order_id, "shipped", "cancelled", instead)
    account = fold(payments.read(tx, [order_id])[order_id])
    if account.open_of("capture"):
        raise InvalidInput(
            f"order {order_id}: its capture is under way; cancel the rest once that has ended"
        )
    quote = quotes.read(tx, [order_id])[order_id]
    refunded = payment_tasks.refunded_lines(tx, order_id)
    cancelled, parts, amount = split(quote, refunded, held, account)
    fulfilment.add_cancelled(tx, order_id, cancelled)
    _tell(tx, row, cancelled, actor)
    if account.authorization and amount > 0:
        _give_back(tx, account.authorization, amount, parts, actor)
    stock.release(tx, {order_id: "part_cancelled"}, actor, with_coupons=False)


def split(
    quote: Quote, refunded: Refunded, held: Iterable[Allotment], account: Account
) -> tuple[list[CancelledLine], list[Part], int]:
    """Pure: what of each line is cancelled, at its share of the line's gross less what was `refunded`
    for it; what of that was paid, and how much goes back for it.

    That is never so much that less is kept than what stands costs: what was refunded by amount, or
    at the gateway, counts as given back for these units.
    """
    cancelled, paid = [], []
    step = amounts.step_of(account.authorization)
    uncaptured = max(0, quote.total - account.captured)
    for line_no, (sku, units) in _by_line(held).items():
        line, (done, before) = quote.lines[line_no - 1], refunded.get(line_no, (0, 0))
        left = min(units, line.quantity - done)
        amount = refunds.share(line, done + left, before, step)
        unpaid = min(amount, uncaptured)
        uncaptured -= unpaid
        cancelled.append(CancelledLine(line_no, sku, units, amount, unpaid))
        if amount > unpaid:
            paid.append(Part(line_no, left, amount - unpaid))
    stands = quote.total - sum(c.amount for c in cancelled) - sum(n for _, n in refunded.values())
    share = sum(part.amount for part in paid)
    return cancelled, paid, min(share, account.refundable, account.owed - stands)


def _by_line(held: Iterable[Allotment]) -> dict[int, tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    for each in held:
        _, units = found.get(each.line_no, ("", 0))
        found[each.line_no] = each.sku, units + each.quantity
    return found


def _tell(tx: Tx, row: Any, cancelled: Sequence[CancelledLine], actor: str) -> None:
    detail = {
        "lines": {c.line_no: c.units for c in cancelled},
        "amount": to_text(sum(c.amount for c in cancelled), row.currency),
        "unpaid": to_text(sum(c.unpaid for c in cancelled), row.currency),
    }
    orders.note(tx, [Note(row.id, EventKind.PART_CANCELLED, None, detail)], actor)


def _give_back(
    tx: Tx, authorization: Operation, amount: int, parts: Sequence[Part], actor: str
) -> None:
    """By a task; what was paid by hand is paid back so, and a person is called to it."""
    back = follow_up(authorization, "refund", amount, uuid.uuid4().hex)
    if not moves_money(authorization.gateway):
        told = {"amount": to_text(back.amount, back.currency), "code": BY_HAND}
        orders.note(tx, [Note(back.order_id, EventKind.REFUND_REQUESTED, None, told)], actor)
        outbox.page(tx, [back.order_id], outbox.REFUND_BY_HAND)
        return
    payment_tasks.add_lines(tx, refunds.rows_of(back, parts))
    tasks.request(tx, [back], actor, lines={p.line_no: p.units for p in parts})


def settle(tx: Tx, accounts: Mapping[int, Account], actor: str) -> dict[int, str]:
    """Someone at the gateway captured what was due no more, of confirmed orders, locked, whose
    accounts these are: it goes back. What was done, by order id; others are absent."""
    cancelled = fulfilment.cancelled(tx, accounts)
    totals = quotes.totals(tx, cancelled) if cancelled else {}
    paid, asked, parts = [], [], []
    for order_id, lines in cancelled.items():
        account = accounts[order_id]
        after = list(_respread(lines, max(0, totals[order_id] - account.captured)))
        late = [
            Part(was.line_no, was.units, was.unpaid - now.unpaid)
            for was, now in zip(lines, after, strict=True)
            if was.unpaid > now.unpaid
        ]
        if late and account.authorization:
            amount = sum(part.amount for part in late)
            back = follow_up(account.authorization, "refund", amount, uuid.uuid4().hex)
            paid += [(order_id, line.line_no, line.unpaid) for line in after]
            asked.append(back)
            parts += refunds.rows_of(back, late)
    fulfilment.set_unpaid(tx, paid)
    payment_tasks.add_lines(tx, parts)
    tasks.request(tx, asked, actor, late_money.LATE)
    return {back.order_id: "refund_requested" for back in asked}


def _respread(lines: Iterable[CancelledLine], uncaptured: int) -> Iterator[CancelledLine]:
    for line in lines:
        unpaid = min(line.unpaid, uncaptured)
        uncaptured -= unpaid
        yield replace(line, unpaid=unpaid)
