"""Operations asked for after the sale: persisted with a task, done between transactions by whoever
takes it, under one key for ever, until how it ended is known.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipeline.backoff import Backoff
from pipeline.chain import PAYMENT_UNDONE
from pipeline.event_kind import EventKind
from pipeline.money import to_text
from pipeline.notifications import outbox
from pipeline.order import OVER, Status
from pipeline.payments.account import Operation, call_of, ended, fold
from pipeline.payments.callers import Callers
from pipeline.payments.gateway import (
    Answer,
    Declined,
    Refused,
    RequiresAction,
    Unavailable,
    Unknown,
)
from pipeline.payments.refund_tax import Split
from pipeline.storage import fulfilment, orders, payment_tasks, payments, refund_tax
from pipeline.storage.database import Database, Tx
from pipeline.storage.orders import Note
from pipeline.storage.payment_tasks import DueTask, Key

ENGINE = "engine"
MOST = 200
#: Seconds in which calls are begun, and for which nobody else takes the task: longer by more than
#: a call lasts.
TIME_LIMIT = 60.0
TAKEN_FOR = 120.0
#: So often is a void asked for that the gateway refuses: its key is for ever, so that once it has
#: failed it can't be asked for again. A minute or two; an event may tell more in that time.
VOID_ATTEMPTS = 8
BACKOFF = Backoff(first=1.0, longest=600.0)

#: Of refunds, by order id and key.
Splits = Mapping[tuple[int, str], Split]

_DONE = {
    "capture": EventKind.CAPTURED,
    "refund": EventKind.REFUNDED,
    "void": EventKind.VOIDED,
}


def request(
    tx: Tx, operations: Sequence[Operation], actor: str, reason: str | None = None, **detail: Any
) -> None:
    """Persist operations, each with its task and an event. The caller holds the orders' locks, and
    has written what refunds by lines are for."""
    payments.add(tx, operations)
    payment_tasks.add(tx, [(op.order_id, op.key) for op in operations])
    made_of = splits(tx, operations)
    notes = [
        Note(
            op.order_id, EventKind(f"{op.kind}_requested"), reason, {**told(op, made_of), **detail}
        )
        for op in operations
    ]
    orders.note(tx, notes, actor)


def conclude(tx: Tx, rows: Sequence[Operation], actor: str = ENGINE) -> set[Key]:
    """End the tasks of those of the `rows` that ended an operation, and tell the timelines of these.
    Returns their keys: of two who conclude one, one tells. The caller holds the orders' locks."""
    over = [op for op in rows if op.state in ("succeeded", "failed")]
    if not over:
        return set()
    gone = payment_tasks.end(tx, [(op.order_id, op.key) for op in over])
    ended = [op for op in over if (op.order_id, op.key) in gone]
    made_of = splits(tx, ended)
    orders.note(tx, [_note(op, made_of) for op in ended], actor)
    return gone


def _note(op: Operation, made_of: Splits) -> Note:
    kind = _DONE[op.kind] if op.state == "succeeded" else EventKind(f"{op.kind}_failed")
    code = {"code": op.code} if op.state == "failed" else {}
    return Note(op.order_id, kind, None, {**told(op, made_of), **code})


def splits(tx: Tx, operations: Iterable[Operation]) -> Splits:
    """What those of the operations that are refunds, and are written, are made of."""
    return refund_tax.splits_of(tx, {op.order_id for op in operations if op.kind == "refund"})


def told(op: Operation, made_of: Splits = MappingProxyType({})) -> dict[str, str]:
    """What an event tells of an operation; of a refund its net and tax, too."""
    found = {"amount": to_text(op.amount, op.currency), "key": op.key}
    if op.kind == "refund" and (split := made_of.get((op.order_id, op.key))):
        found["net"] = to_text(split.net, op.currency)
        found["tax"] = to_text(split.tax, op.currency)
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """A task that was taken, and the gateway's name for the payment that it is about."""

    task: DueTask
    operation: Operation
    parent: str


def is_too_late(row: Any) -> bool:
    """Whether no undo will give back what money the order of that row gets now: it is over, or on
    its way there with its payment undone. Such money has tasks, and nobody else looks after it."""
    undone = (row.chain, row.stage) in PAYMENT_UNDONE
    return row.status in OVER or (row.status in (Status.CANCELLING, Status.ON_HOLD) and undone)


class TaskRunner:
    def __init__(self, database: Database, callers: Callers) -> None:
        self._database = database
        self._callers = callers

    def run(self, only: Collection[Key] | None = None) -> list[Operation]:
        """Do what is due, or `only` these of it, a bounded batch at a time. Returns each operation
        that was asked for as it stands now; what somebody else has taken is not among them."""
        done: list[Operation] = []
        while asked := self._take(only):
            deadline = time.monotonic() + TIME_LIMIT
            answers = self._callers.each(lambda one, by=deadline: self._ask(one, by), asked)  # type: ignore[misc]
            done += self._record(asked, answers)
        return done

    def _take(self, only: Collection[Key] | None) -> list[Asked]:
        with self._database.transaction() as tx:
            taken = payment_tasks.take_due(tx, MOST, TAKEN_FOR, only)
            written = payments.read(tx, {task.order_id for task in taken})
            accounts = {order_id: fold(rows) for order_id, rows in written.items()}
            asked, stale = [], []
            for task in taken:
                account = accounts[task.order_id]
                operation = next((op for op in account.open if op.key == task.key), None)
                parent = account.authorization.reference if account.authorization else None
                if operation is None or parent is None:
                    stale.append((task.order_id, task.key))  # it has ended by another way
                else:
                    asked.append(Asked(task, operation, parent))
            if stale:
                payment_tasks.end(tx, stale)
        return asked

    def _ask(self, asked: Asked, deadline: float) -> Answer:
        call = call_of(asked.operation, None, asked.parent)
        answer = self._callers.perform(
            asked.operation.gateway, call, deadline, doubtful=asked.task.attempts > 1
        )
        if isinstance(answer, RequiresAction):
            return Unknown(f"a {call.kind} can't wait for a customer")
        if (
            isinstance(answer, Declined)
            and call.kind == "void"
            and asked.task.attempts < VOID_ATTEMPTS
        ):
            return Unknown(answer.code)
        return Declined(answer.code) if isinstance(answer, Refused) else answer

    def _record(self, asked: Sequence[Asked], answers: Sequence[Answer]) -> list[Operation]:
        answered = list(zip(asked, answers, strict=True))
        rows = [row for one, answer in answered if (row := ended(one.operation, answer))]
        later = [
            (one.task.order_id, one.task.key, _delay(one.task, answer))
            for one, answer in answered
            if isinstance(answer, (Unknown, Unavailable))
        ]
        with self._database.transaction() as tx:
            locked = orders.lock_all(tx, {one.task.order_id for one in asked})
            payments.add(tx, rows)
            conclude(tx, rows)
            payment_tasks.postpone(tx, later)
            # Nobody looks at an order that is over, or is done but for what was cancelled of it: money
            # that can't be given back calls a person.
            failed = {op.order_id for op in rows if op.state == "failed"}
            unwatched = {i for i, row in locked.items() if is_too_late(row)}
            if failed - unwatched:
                unwatched |= fulfilment.cancelled(tx, failed).keys()
            outbox.page(tx, sorted(failed & unwatched), outbox.REFUND_FAILED)
        by_key = {(op.order_id, op.key): op for op in rows}
        return [by_key.get((a.task.order_id, a.task.key), a.operation) for a in asked]


def _delay(task: DueTask, answer: Unknown | Unavailable) -> float:
    asked_for = answer.retry_after if isinstance(answer, Unavailable) else None
    return BACKOFF.after(task.attempts) if asked_for is None else asked_for
