"""pay: → paid. The order's total is authorized and captured, once, whatever gets lost on the way.

In:  a priced order; its operations so far. Each operation's key is persisted before the gateway
     is called with it, and asked for again, never renewed, as long as its outcome is not known.
Out: Advance (captured); Reject (declined); Retry (unknown: ask; unavailable: later, for nothing).
Undo: void what is only authorized, refund what is captured.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from pipeline.money import to_text
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.payments.account import Account, Operation, call_of, fold
from pipeline.payments.gateway import (
    Answer,
    Call,
    Declined,
    Gateway,
    Kind,
    Succeeded,
    Unavailable,
    Unknown,
)
from pipeline.stages.step import Step
from pipeline.storage import payments, quotes
from pipeline.storage.database import Tx

Answered = list[tuple[Operation, Answer]]


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be asked of the gateway for one order.

    `doubtful` are the keys that may have been used before: look them up before using them again.
    """

    order: Order
    account: Account
    operations: tuple[Operation, ...]
    doubtful: frozenset[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """The operations that were asked, with the answers, in order; the last one may have stopped it."""

    order_id: int
    answered: Answered


class _PaymentStep(Step[list[Task], list[Finding]]):
    """What paying and undoing it share: persist the operations, call concurrently, write answers."""

    def __init__(self, gateway: Gateway, calls: int) -> None:
        self.gateway = gateway
        self.calls = calls
        self.pool = ThreadPoolExecutor(calls, thread_name_prefix="gateway")

    def call(self, plan: list[Task]) -> list[Finding]:
        deadline = time.monotonic() + self.time_limit
        findings: list[Finding | None] = [None] * len(plan)
        tasks = iter(enumerate(plan))

        def ask_until_none_is_left() -> None:
            # Threads draw from one iterator: a slow answer holds up its own order, and a batch
            # costs a few submissions to the pool rather than one an order.
            for position, task in tasks:
                findings[position] = self._ask(deadline, task)

        strands = [
            self.pool.submit(ask_until_none_is_left) for _ in range(min(self.calls, len(plan)))
        ]
        wait(strands)  # all, also when one broke: nobody may be calling when the batch is given up
        for strand in strands:
            strand.result()
        return [finding for finding in findings if finding is not None]

    def _ask(self, deadline: float, task: Task) -> Finding:
        """The order's operations one after another, until one doesn't succeed."""
        answered: Answered = []
        authorization = task.account.authorization
        parent = authorization.reference if authorization else None
        for operation in task.operations:
            if time.monotonic() > deadline:  # our lease is as good as lost: begin nothing
                answered.append((operation, Unavailable("the batch ran out of time")))
                break
            call = call_of(operation, task.order.payment_method, parent)
            answer = self._ask_once(operation, call, operation.key in task.doubtful)
            answered.append((operation, answer))
            if not isinstance(answer, Succeeded):
                break
            if operation.kind == "authorize":
                parent = answer.reference
        if answered and isinstance(answered[-1][1], Declined):  # what builds on it can't happen now
            left = task.operations[len(answered) :]
            answered += [(op, Declined("not_attempted")) for op in left]
        return Finding(task.order.id, answered)

    def _ask_once(self, operation: Operation, call: Call, doubtful: bool) -> Answer:
        found = self.gateway.find(call) if doubtful else None
        return self.gateway.perform(call) if found is None else found

    def _new(self, order: Order, kind: Kind, amount: int) -> Operation:
        key = uuid.uuid4().hex
        return Operation(
            order.id, key, kind, "requested", amount, order.currency, self.gateway.name
        )

    def _persist(
        self,
        tx: Tx,
        orders: Sequence[Order],
        wanted: Callable[[Order, Account], list[Operation]],
    ) -> list[Task]:
        """Write what is not yet written of the `wanted` operations; one task for each order."""
        written = payments.read(tx, [order.id for order in orders])
        tasks = []
        for order in orders:
            account = fold(written[order.id])
            doubtful = frozenset(op.key for op in account.open)
            tasks.append(Task(order, account, tuple(wanted(order, account)), doubtful))
        payments.add(tx, [op for t in tasks for op in t.operations if op.key not in t.doubtful])
        return tasks

    def _write(self, tx: Tx, findings: Sequence[Finding]) -> None:
        payments.add(
            tx,
            [
                _ended(operation, answer)
                for finding in findings
                for operation, answer in finding.answered
                if not isinstance(answer, Unavailable)
            ],
        )


def _ended(operation: Operation, answer: Answer) -> Operation:
    match answer:
        case Succeeded(reference):
            return replace(operation, state="succeeded", reference=reference)
        case Declined(code):
            return replace(operation, state="failed", code=code)
        case Unknown(cause) | Unavailable(cause):
            return replace(operation, state="unknown", code=cause[:128])


def _decisive(answered: Answered) -> tuple[Operation, Answer]:
    """The first operation that didn't succeed, or the last of all."""
    failed = (pair for pair in answered if not isinstance(pair[1], Succeeded))
    return next(failed, answered[-1])


class Pay(_PaymentStep):
    def intend(self, tx: Tx, orders: Sequence[Order]) -> list[Task]:
        totals = quotes.totals(tx, [order.id for order in orders])
        return self._persist(tx, orders, lambda o, account: self._wanted(o, account, totals[o.id]))

    def _wanted(self, order: Order, account: Account, total: int) -> list[Operation]:
        if account.captured or total == 0 or order.payment_method is None:
            return []
        capture = account.open_of("capture") or self._new(order, "capture", total)
        if account.authorization is not None:
            return [capture]
        return [account.open_of("authorize") or self._new(order, "authorize", total), capture]

    def settle(self, tx: Tx, orders: Sequence[Order], findings: list[Finding]) -> list[Outcome]:
        self._write(tx, findings)
        return [
            decide(order, finding.answered) for order, finding in zip(orders, findings, strict=True)
        ]


def decide(order: Order, answered: Answered) -> Outcome:
    """Pure: what the gateway's answers mean for `order`."""
    if not answered:
        return Advance() if order.payment_method else Reject("no_payment_method")
    operation, answer = _decisive(answered)
    match answer:
        case Succeeded():
            return Advance({"captured": to_text(operation.amount, operation.currency)})
        case Declined(code):
            return Reject("declined", {"code": code}, had_effect=operation.kind == "capture")
        case Unknown(cause):
            return Retry("payment_unknown", {"cause": cause})
        case Unavailable(cause, retry_after):
            return Retry("gateway_unavailable", {"cause": cause}, retry_after or 5.0, burns=False)


class UndoPay(_PaymentStep):
    """Works in rounds: first what is open is looked up, then what is known is given back."""

    #: Seconds after which no worker can still be about to call the gateway for an operation: it
    #: begins no call past its time limit (60), and one takes no longer than a time-out (30).
    latest_charge = 90.0

    def intend(self, tx: Tx, orders: Sequence[Order]) -> list[Task]:
        return self._persist(tx, orders, self._wanted)

    def _wanted(self, order: Order, account: Account) -> list[Operation]:
        asked = [op for op in account.open if op.kind in ("authorize", "capture")]
        if asked:
            return asked
        owed = account.captured - account.refunded
        if owed:
            return [account.open_of("refund") or self._new(order, "refund", owed)]
        authorized = account.authorization
        if authorized is not None and not account.captured and not account.voided:
            return [account.open_of("void") or self._new(order, "void", authorized.amount)]
        return []

    def _ask_once(self, operation: Operation, call: Call, doubtful: bool) -> Answer:
        if call.kind in ("refund", "void"):
            return super()._ask_once(operation, call, doubtful)
        # Never charge in order to undo: what can't be found did not happen. But a worker that hung
        # in its call may have lost the order and charge yet: believe it only when it can't any more.
        left = self.latest_charge - operation.age
        absent = Declined("never_happened") if left <= 0 else Unavailable("it may yet happen", left)
        return self.gateway.find(call) or absent

    def settle(self, tx: Tx, orders: Sequence[Order], findings: list[Finding]) -> list[Outcome]:
        self._write(tx, findings)
        return [decide_undo(finding.answered) for finding in findings]


def decide_undo(answered: Answered) -> Outcome:
    """Pure: whether the money is back, or what to do next."""
    if not answered:
        return Advance()
    operation, answer = _decisive(answered)
    match answer:
        case Unknown(cause):
            return Retry("undo_unknown", {"cause": cause})
        case Unavailable(cause, retry_after):
            return Retry("gateway_unavailable", {"cause": cause}, retry_after or 5.0, burns=False)
        case Declined(code) if operation.kind in ("refund", "void"):
            return Hold("undo_failed", {"operation": operation.kind, "code": code})
        case Succeeded() if operation.kind in ("refund", "void"):
            return Advance({"returned": to_text(operation.amount, operation.currency)})
    return Retry("looked_up", after=0.0, burns=False)  # now that we know, give it back
