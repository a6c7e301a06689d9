"""pay: → paid. The order's total is authorized and captured, once, whatever gets lost on the way.

In:  a priced order; its operations so far. Each operation's key is persisted before the gateway
     is called with it, and asked for again, never renewed, as long as its outcome is not known.
Out: Advance (captured; or authorized, where the source's policy captures later, or if it is free);
     Reject (declined, no method, its customer let the time for paying pass, or what was taken has
     been given back there); Hold (the gateway calls the request invalid: our fault, not the
     customer's; requeued, it is asked for anew. Or its source names no gateway); Retry (unknown: ask; unavailable: later, for nothing; requires_action:
     look again, or be woken).
Undo: undo_pay.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.money import to_text
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.payments.account import Account, Operation
from pipeline.payments.callers import Callers
from pipeline.payments.choice import GatewayChoice
from pipeline.payments.gateway import (
    KEY_TAKEN,
    Declined,
    Refused,
    RequiresAction,
    Succeeded,
    Unavailable,
    Unknown,
    capture_key,
)
from pipeline.payments.gateways import moves_money
from pipeline.stages.payment_step import (
    AWAY_LOOK,
    Finding,
    PaymentStep,
    Task,
    decisive,
    next_key,
    rows,
)
from pipeline.storage import payments, quotes
from pipeline.storage.database import Tx

#: Seconds, at the least, between looks at a payment its customer must act on; a tenth of what it
#: has waited. A safety net: events wake it.
ACTION_LOOK = 60.0


class Pay(PaymentStep):
    def __init__(self, callers: Callers, choice: GatewayChoice) -> None:
        super().__init__(callers)
        self._choice = choice

    def intend(self, tx: Tx, orders: Sequence[Order]) -> list[Task]:
        totals = quotes.totals(tx, [order.id for order in orders])
        return self._persist(
            tx, orders, lambda o, account: self._wanted(o, account, totals[o.id]), totals
        )

    def _wanted(self, order: Order, account: Account, total: int) -> list[Operation]:
        if account.captured or total == 0 or order.payment_method is None:
            return []
        # The policy may have been changed since: what was begun is brought to its end, where it is.
        authorization = account.authorization or account.open_of("authorize")
        begun = authorization.gateway if authorization else None
        gateway = begun or self._choice.of(order.source.policy)
        if gateway is None:
            return []
        first = authorization or self._new(
            order, "authorize", total, gateway, next_key(order, account, "authorize")
        )
        wanted = [first] if account.authorization is None else []
        capture = account.open_of("capture")
        if capture is None and _is_taken_at_once(order, gateway):
            capture = self._new(order, "capture", total, gateway, capture_key(first.key))
        return wanted if capture is None else [*wanted, capture]

    def settle(self, tx: Tx, orders: Sequence[Order], findings: list[Finding]) -> list[Outcome]:
        payments.add(tx, [row for finding in findings for row in rows(finding.answered)])
        return [decide(finding) for finding in findings]


def _is_taken_at_once(order: Order, gateway: str) -> bool:
    """Money that no machine moves is recorded when it comes, never asked for."""
    return order.source.policy.capture == "at_once" and moves_money(gateway)


def decide(finding: Finding) -> Outcome:
    """Pure: what the gateway's answers mean for the order."""
    order = finding.task.order
    if not finding.answered:
        return _nothing_to_ask(finding.task)
    operation, answer = decisive(finding.answered)
    match answer:
        case Succeeded():
            done = "captured" if operation.kind == "capture" else "authorized"
            return Advance({done: to_text(operation.amount, operation.currency)})
        case RequiresAction():
            waited = finding.task.account.waited
            left = order.source.policy.payment_expires_after - waited
            if left <= 0:
                return Reject("payment_expired", had_effect=True)
            look = max(ACTION_LOOK, waited / 10)
            return Retry("requires_action", after=min(look, left), burns=False)
        case Declined(KEY_TAKEN.code):
            return Hold("payment_key_taken", {"operation": operation.kind, "key": operation.key})
        case Declined(code):
            return Reject("declined", {"code": code}, had_effect=operation.kind == "capture")
        case Refused(code):
            return Hold("gateway_refused", {"operation": operation.kind, "code": code})
        case Unknown(cause):
            return Retry("payment_unknown", {"cause": cause})
        case Unavailable(cause, retry_after):
            after = retry_after or AWAY_LOOK
            return Retry("gateway_unavailable", {"cause": cause}, after, burns=False)


def _nothing_to_ask(task: Task) -> Outcome:
    """It is paid (or free), or it never can be."""
    account = task.account
    if account.captured and account.owed < task.total:
        # Someone at the gateway gave it back, or took less: goods for nothing go to nobody.
        short = "payment_returned" if account.owed < account.captured else "payment_incomplete"
        return Reject(short, had_effect=True)
    if task.total == 0 or account.captured or account.authorization:
        return Advance()
    if task.order.payment_method is None:
        return Reject("no_payment_method")
    # It was accepted before its source had to name one, or the name was taken away since.
    return Hold("no_gateway")
