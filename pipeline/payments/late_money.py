"""Money that arrives too late for its order: the order is reinstated, or the money goes back."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.chain import CAPTURE_FIRST
from pipeline.event_kind import EventKind
from pipeline.order import Order, Status
from pipeline.outcome import Advance
from pipeline.payments import tasks
from pipeline.payments.account import Account, Operation, follow_up
from pipeline.payments.gateway import void_key
from pipeline.stages import validate
from pipeline.storage import catalogue, dispatches, orders, quotes
from pipeline.storage.database import Tx
from pipeline.storage.dispatches import NewDispatch
from pipeline.storage.orders import Move

LATE = "late_money"


@dataclass(frozen=True, slots=True)
class Settled:
    """What was done about each order: reinstated, refund_requested, void_requested; and what to
    announce after the commit."""

    outcomes: dict[int, str]
    announcements: list[tuple[str, int]]


def settle(tx: Tx, late: Mapping[int, tuple[Any, Account]], actor: str) -> Settled:
    """Reinstate or give back, by id of orders for which it `is_too_late`: its row, locked, and its
    account as it stands now. One that holds no money is left alone."""
    expired = {i for i, (row, account) in late.items() if _may_be_reinstated(row, account)}
    back_again = _deliverable(tx, expired) if expired else []
    announcements = _reinstate(tx, back_again, actor)
    outcomes = {order.id: "reinstated" for order in back_again}
    given_back = [
        operation
        for i, (_, account) in late.items()
        if i not in outcomes and (operation := _giving_back(account)) is not None
    ]
    tasks.request(tx, given_back, actor, LATE)
    outcomes |= {op.order_id: f"{op.kind}_requested" for op in given_back}
    return Settled(outcomes, announcements)


def _may_be_reinstated(row: Any, account: Account) -> bool:
    """It was given up only because nobody paid, and now all of it is paid."""
    authorization = account.authorization
    return (
        row.status == Status.CANCELLED
        and row.reason == "payment_expired"
        and row.cancel_requested_at is None
        and authorization is not None
        and account.owed >= authorization.amount
        and not account.disputed
        and not account.bounced  # it was told that it gets its money back
    )


def _deliverable(tx: Tx, order_ids: Collection[int]) -> list[Order]:
    """Those that validation would let pass today. Only a look: what counts is decided under lock
    by the stages to come, which give the money back if they must."""
    found = [loaded.order for loaded in orders.load(tx, order_ids)]
    totals = quotes.totals(tx, order_ids)
    skus = {line["sku"] for order in found for line in order.document["lines"]}
    products = catalogue.products_by_sku(tx, skus)
    return [
        order
        for order in found
        if order.id in totals and isinstance(validate.decide(order, products), Advance)
    ]


def _reinstate(tx: Tx, back_again: Sequence[Order], actor: str) -> list[tuple[str, int]]:
    """Back to the payment stage, which finds it paid; in the chain that pays first, as it has."""
    if not back_again:
        return []
    orders.put_on_chain(tx, [order.id for order in back_again], CAPTURE_FIRST.name)
    payment = CAPTURE_FIRST.link("pay")
    move = Move(0, Status.CANCELLED, payment.source, payment.stage, EventKind.REINSTATED)
    orders.move(tx, [replace(move, order_id=order.id) for order in back_again], actor)
    lanes: dict[int, list[int]] = defaultdict(list)
    for order in back_again:
        lanes[order.lane.rank].append(order.id)
    made = dispatches.add(
        tx, [NewDispatch(payment.stage, lane, tuple(sorted(ids))) for lane, ids in lanes.items()]
    )
    return [(payment.stage, i) for i in made]


def _giving_back(account: Account) -> Operation | None:
    authorization = account.authorization
    if authorization is None:
        return None
    if account.owed > 0:
        return follow_up(authorization, "refund", account.owed, uuid.uuid4().hex)
    if account.captured or account.voided or account.open_of("void"):
        return None
    return follow_up(authorization, "void", authorization.amount, void_key(authorization.key))
