"""undo_pay: what was taken is given back, what is only authorized is voided.

Works in rounds, each of which asks for what is known to be owed, until nothing is: first a payment
that waits for its customer is voided, then what is open is looked up, then money goes back. An
operation that is refused makes us read the payment: someone at the gateway may have been first.

In:  an order that failed or was cancelled after it may have been charged; its operations so far.
Out: Advance (nothing is owed); Retry (the next round; no answer; unavailable); Hold (`undo_failed`:
     the gateway refuses, and a person is paged).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.money import to_text
from pipeline.notifications import outbox
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Retry
from pipeline.payments import tasks
from pipeline.payments.account import BY_HAND, OBSERVED, Account, Operation, ended, fold
from pipeline.payments.gateway import (
    Answer,
    Call,
    Declined,
    Payment,
    RequiresAction,
    Succeeded,
    Unavailable,
    Unknown,
    void_key,
)
from pipeline.payments.observed import authorization_of, observed
from pipeline.stages.payment_step import AWAY_LOOK, Finding, PaymentStep, Task, decisive, next_key
from pipeline.storage import orders, payments
from pipeline.storage.database import Tx


class UndoPay(PaymentStep):
    #: Seconds after which no worker can still be about to call the gateway for an operation: it
    #: begins no call past its time limit (60), and one takes no longer than a time-out (30).
    latest_charge = 90.0

    def intend(self, tx: Tx, orders: Sequence[Order]) -> list[Task]:
        return self._persist(tx, orders, self._wanted)

    def _wanted(self, order: Order, account: Account) -> list[Operation]:
        """The next round."""
        if account.pending and not account.voided:
            return [self._void(order, account, account.pending)]
        for kinds in (("authorize", "capture"), ("refund",)):
            if asked := [op for op in account.open if op.kind in kinds]:
                return asked
        authorized = account.authorization
        if authorized is None:
            return []
        if account.owed > 0:
            return [self._refund(order, account, authorized)]
        if not account.captured and not account.voided:
            return [self._void(order, account, authorized)]
        return []

    def _refund(self, order: Order, account: Account, authorized: Operation) -> Operation:
        key = next_key(order, account, "refund")
        return self._new(order, "refund", account.owed, authorized.gateway, key)

    def _void(self, order: Order, account: Account, authorized: Operation) -> Operation:
        key = void_key(authorized.key)
        return account.open_of("void") or self._new(
            order, "void", authorized.amount, authorized.gateway, key
        )

    def _ask(self, deadline: float, task: Task) -> Finding:
        finding = super()._ask(deadline, task)
        if not finding.answered:
            return finding
        operation, answer = decisive(finding.answered)
        standing = task.account.authorization or task.account.pending
        if not _is_refused(operation, answer) or answer == Declined(BY_HAND):
            return finding
        if standing is None or standing.reference is None:
            return finding
        payment = self.callers.read(operation.gateway, standing.reference)
        if isinstance(payment, Unknown):  # ask again: what was refused has not ended for us
            return replace(finding, answered=[*finding.answered[:-1], (operation, payment)])
        return replace(finding, payment=payment)

    def _ask_once(self, by: float, task: Task, operation: Operation, call: Call) -> Answer:
        if call.kind in ("refund", "void"):
            return super()._ask_once(by, task, operation, call)
        # Never charge in order to undo: what can't be found did not happen. But a worker that hung
        # in its call may have lost the order and charge yet: believe it only when it can't any more,
        # counted from when nobody could claim the order for being paid any longer.
        found = self.callers.find(operation.gateway, call)
        if task.account.voided and (found is None or isinstance(found, RequiresAction)):
            return Declined("already_voided")
        since = operation.age if operation.undone_for is None else operation.undone_for
        left = self.latest_charge - since
        absent = Declined("never_happened") if left <= 0 else Unavailable("it may yet happen", left)
        return absent if found is None else found

    def settle(self, tx: Tx, batch: Sequence[Order], findings: list[Finding]) -> list[Outcome]:
        # What the gateway told of meanwhile must not be overlooked: whoever writes it holds the
        # lock, so from here on the rows are all there is.
        ids = [order.id for order in batch]
        orders.lock_all(tx, ids)
        before = payments.read(tx, ids)
        written = [before[f.task.order.id] for f in findings]
        learned = [_learned(f, known) for f, known in zip(findings, written, strict=True)]
        news = [row for rows in learned for row in rows]
        payments.add(tx, news)
        tasks.conclude(tx, news)
        outcomes = [
            self._decide(finding, fold([*known, *rows]))
            for finding, known, rows in zip(findings, written, learned, strict=True)
        ]
        held = [o for o, said in zip(batch, outcomes, strict=True) if isinstance(said, Hold)]
        outbox.page(tx, [order.id for order in held], outbox.UNDO_FAILED)
        return outcomes

    def _decide(self, finding: Finding, after: Account) -> Outcome:
        """Whether nothing is owed any more, or what to do next."""
        task = finding.task
        if not self._wanted(task.order, after):
            return Advance(_returned(finding))
        if not finding.answered:
            return Retry("looked_up", after=0.0, burns=False)
        operation, answer = decisive(finding.answered)
        match answer:
            case Unknown(cause):
                return Retry("undo_unknown", {"cause": cause})
            case Unavailable(cause, retry_after):
                later = retry_after or AWAY_LOOK
                return Retry("gateway_unavailable", {"cause": cause}, later, burns=False)
            case Declined(code) if _is_refused(operation, answer) and _is_same(task.account, after):
                return Hold("undo_failed", {"operation": operation.kind, "code": code})
        return Retry("looked_up", after=0.0, burns=False)  # now that we know, give it back


def _is_refused(operation: Operation, answer: Answer) -> bool:
    """The gateway won't give back what we believe it has."""
    return isinstance(answer, Declined) and operation.kind in ("refund", "void")


def _is_same(before: Account, after: Account) -> bool:
    """Nothing was learned that another round could go by."""
    return (before.captured, before.owed, before.voided) == (
        after.captured, after.owed, after.voided,
    )  # fmt: skip


def _returned(finding: Finding) -> dict[str, str]:
    if not finding.answered:
        return {}
    operation, answer = decisive(finding.answered)
    if not isinstance(answer, Succeeded) or operation.kind not in ("refund", "void"):
        return {}
    return {"returned": to_text(operation.amount, operation.currency)}


def _learned(finding: Finding, written: Sequence[Operation]) -> list[Operation]:
    """The answers as rows to be added, and what reading the payment told beyond them."""
    payment = finding.payment
    learned = [
        row
        for operation, answer in finding.answered
        if (row := _row(operation, answer, payment)) is not None
    ]
    authorization = authorization_of(written, payment) if payment else None
    if payment is None or authorization is None:
        return learned
    if payment.status == "failed":
        learned.append(replace(authorization, state="failed", code=OBSERVED))
    return learned + observed([*written, *learned], authorization, payment)


def _row(operation: Operation, answer: Answer, payment: Payment | None) -> Operation | None:
    """A void has one key for ever, so one that is refused has not ended, it may be asked for again;
    but for one that can never be."""
    row = ended(operation, answer)
    if row is None or not (operation.kind == "void" and row.state == "failed"):
        return row
    match payment.status if payment else None:
        case "voided" | "captured":
            return None  # it is done, or can't be any more: the reading says so
        case "failed":
            return row
        case _:
            return replace(row, state="unknown")
