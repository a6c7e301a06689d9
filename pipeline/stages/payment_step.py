"""What paying and undoing it share: persist the operations, call concurrently, write the answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.order import Lane, Order
from pipeline.payments.account import Account, Operation, call_of, ended, fold
from pipeline.payments.callers import OUT_OF_TIME, Callers
from pipeline.payments.gateway import (
    Answer,
    Call,
    Declined,
    Kind,
    Payment,
    Refused,
    Succeeded,
)
from pipeline.stages.step import Step
from pipeline.storage import payments
from pipeline.storage.database import Tx

Answered = list[tuple[Operation, Answer]]
#: Seconds after which a gateway that was away, and didn't say for how long, is asked again.
AWAY_LOOK = 5.0
NO_TOTALS: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be asked of the gateway for one order.

    `doubtful` are the keys that may have been used before: look them up before using them again.
    `total` is what it costs, where that matters.
    """

    order: Order
    account: Account
    operations: tuple[Operation, ...]
    doubtful: frozenset[str]
    total: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """The operations that were asked, with the answers, in order; the last one may have stopped it.

    `payment` is the gateway's side of it, where an answer made it worth reading.
    """

    task: Task
    answered: Answered
    payment: Payment | None = None


class PaymentStep(Step[list[Task], list[Finding]]):
    def __init__(self, callers: Callers) -> None:
        self.callers = callers

    def call(self, plan: list[Task]) -> list[Finding]:
        deadline = time.monotonic() + self.time_limit
        lane = plan[0].order.lane if plan else Lane.INTERACTIVE  # lanes don't mix in a batch
        return self.callers.each(lambda task: self._ask(deadline, task), plan, lane)

    def _ask(self, deadline: float, task: Task) -> Finding:
        """The order's operations one after another, until one doesn't succeed."""
        answered: Answered = []
        standing = task.account.authorization or task.account.pending
        parent = standing.reference if standing else None
        for operation in task.operations:
            if time.monotonic() > deadline:  # our lease is as good as lost: begin nothing
                answered.append((operation, OUT_OF_TIME))
                break
            call = call_of(operation, task.order.payment_method, parent)
            answer = self._ask_once(deadline, task, operation, call)
            answered.append((operation, answer))
            if not isinstance(answer, Succeeded):
                break
            if operation.kind == "authorize":
                parent = answer.reference
        if answered and isinstance(
            answered[-1][1], Declined | Refused
        ):  # what builds on it can't happen now
            answered += [(op, Declined("not_attempted")) for op in _built_on(answered[-1][0], task)]
        return Finding(task, answered)

    def _ask_once(self, by: float, task: Task, operation: Operation, call: Call) -> Answer:
        doubtful = operation.key in task.doubtful
        return self.callers.perform(operation.gateway, call, by, doubtful=doubtful)

    @staticmethod
    def _new(order: Order, kind: Kind, amount: int, gateway: str, key: str) -> Operation:
        return Operation(order.id, key, kind, "requested", amount, order.currency, gateway)

    def _persist(
        self,
        tx: Tx,
        orders: Sequence[Order],
        wanted: Callable[[Order, Account], list[Operation]],
        totals: Mapping[int, int] = NO_TOTALS,
    ) -> list[Task]:
        """Write what is not yet written of the `wanted` operations; one task for each order."""
        written = payments.read(tx, [order.id for order in orders])
        tasks = []
        for order in orders:
            account = fold(written[order.id])
            doubtful = frozenset(op.key for op in account.open)
            operations = tuple(wanted(order, account))
            tasks.append(Task(order, account, operations, doubtful, totals.get(order.id, 0)))
        payments.add(tx, [op for t in tasks for op in t.operations if op.key not in t.doubtful])
        return tasks


def next_key(order: Order, account: Account, kind: Kind) -> str:
    """The key of the next operation: made of what came before it, so that it is the same once more if
    the newest rows are lost. A standby that takes over may lack them, though the gateway did what
    they asked for; asked again under that key it does nothing twice. The time when the source was
    made keeps shops apart that share a gateway and call their orders alike."""
    source = order.source
    since = "" if source.created_at is None else source.created_at.isoformat()
    made_of = (since, source.name, order.external_id, kind, account.written)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]


def _built_on(declined: Operation, task: Task) -> Sequence[Operation]:
    if declined.kind != "authorize":
        return ()
    return task.operations[task.operations.index(declined) + 1 :]


def rows(answered: Answered) -> list[Operation]:
    """What the answers are as rows to be added."""
    return [row for operation, answer in answered if (row := ended(operation, answer))]


def decisive(answered: Answered) -> tuple[Operation, Answer]:
    """The first operation that didn't succeed, or the last of all."""
    failed = (pair for pair in answered if not isinstance(pair[1], Succeeded))
    return next(failed, answered[-1])
