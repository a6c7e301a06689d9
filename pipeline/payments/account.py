"""An order's payment operations folded into what is authorized, captured, returned, and what is open.

Operations are append-only. One of ours is born `requested` and ended once, by `succeeded` or
`failed`; `pending` (the customer must act) and `unknown` (no answer) are notes in between. One
that was done at the gateway by someone else has no `requested`, and is named by its reference.
Everything here is derived from the rows, purely.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pipeline.money import to_text
from pipeline.payments.gateway import (
    Answer,
    Call,
    Declined,
    Kind,
    Refused,
    RequiresAction,
    Succeeded,
    Unavailable,
    Unknown,
)

State = Literal["requested", "pending", "unknown", "succeeded", "failed"]
PaymentStatus = Literal[
    "none", "authorized", "captured", "partially_refunded", "refunded", "disputed"
]

#: The code of what a gateway was found to have done when its payment was read, rather than asked
#: for it: it may contradict what we believed, and it is what counts.
OBSERVED = "observed"

#: The code of what no machine does: a person moves the money, and records it.
BY_HAND = "by_hand"


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the operations table: what was asked (`key`) and one thing that became of it.

    `at` is when it was written and `age` how many seconds ago that was, when read; `undone_for`
    how many seconds ago its order was sent to be undone, if it was.
    """

    order_id: int
    key: str
    kind: Kind
    state: State
    amount: int
    currency: str
    gateway: str
    reference: str | None = None
    code: str | None = None
    at: datetime | None = None
    age: float = 0.0
    undone_for: float | None = None

    @property
    def worth(self) -> dict[str, str]:
        """What it is over, as people write it."""
        return {"amount": to_text(self.amount, self.currency), "currency": self.currency}


def follow_up(authorization: Operation, kind: Kind, amount: int, key: str) -> Operation:
    """A new operation about what `authorization` stands for, to be asked of its gateway."""
    return Operation(
        authorization.order_id, key, kind, "requested", amount, authorization.currency,
        authorization.gateway,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """The fold of one order's operations. Amounts in minor units.

    `authorization` is the one that stands (or stood, if `voided`). `open` are operations of ours
    that have not ended: they may or may not have happened; one for which the customer must act is
    `pending` among them, with its reference, and `waited` the seconds since. `returning` sums the
    refunds on their way, `disputed` the disputes open or lost, `lost` those lost, `bounced` the
    refunds that came back. `written` counts the rows that all this was read from.
    """

    authorization: Operation | None
    captured: int
    refunded: int
    returning: int
    disputed: int
    lost: int
    voided: bool
    open: tuple[Operation, ...]
    waited: float = 0.0
    bounced: int = 0
    written: int = 0

    def open_of(self, kind: Kind) -> Operation | None:
        return next((op for op in self.open if op.kind == kind), None)

    @property
    def pending(self) -> Operation | None:
        """The authorization that the customer must do something for."""
        return next((op for op in self.open if op.state == "pending"), None)

    @property
    def held(self) -> int:
        """What we have of the customer's money."""
        return self.captured - self.refunded - self.lost

    @property
    def owed(self) -> int:
        """What must yet be asked back for its customer to have it all."""
        return self.held - self.returning

    @property
    def refundable(self) -> int:
        """What may yet be refunded: not what is on its way back, nor what a bank may take back."""
        return max(0, self.captured - self.refunded - self.returning - self.disputed)

    @property
    def status(self) -> PaymentStatus:
        if self.disputed:
            return "disputed"
        if self.captured:
            if not self.refunded:
                return "captured"
            return "refunded" if self.refunded >= self.captured else "partially_refunded"
        return "authorized" if self.authorization and not self.voided else "none"


_WAITS = ("authorize", "pending")


def fold(operations: Iterable[Operation]) -> Account:
    """The account that these operations, in the order they were written, amount to."""
    written = list(operations)
    latest = latest_of(written)
    happened = [op for op in latest if op.state == "succeeded"]
    under_way = [op for op in latest if op.state not in ("succeeded", "failed")]
    return Account(
        authorization=next((op for op in reversed(happened) if op.kind == "authorize"), None),
        captured=_sum(happened, "capture"),
        refunded=_sum(happened, "refund"),
        returning=_sum(under_way, "refund"),
        disputed=_sum(happened, "dispute") + _sum(under_way, "dispute"),
        lost=_sum(happened, "dispute"),
        voided=any(op.kind == "void" for op in happened),
        open=tuple(op for op in under_way if not is_foreign(op)),
        waited=next((op.age for op in written if (op.kind, op.state) == _WAITS), 0.0),
        bounced=_sum((op for op in latest if has_bounced(op)), "refund"),
        written=len(written),
    )


def latest_of(operations: Iterable[Operation]) -> list[Operation]:
    """One row an operation, in the order they began: as it stands, aged since it was requested.

    What ended stays so, but for what was found to have happened after all: that happened. And a
    refund that was found to have failed has failed for good, whatever its call was answered.
    """
    found: dict[str, Operation] = {}
    for op in operations:
        known = found.get(op.key)
        if known is None:
            found[op.key] = op
        elif has_bounced(known):
            continue
        elif (
            has_bounced(op) or op.state == "succeeded" or known.state not in ("succeeded", "failed")
        ):
            found[op.key] = replace(
                op,
                reference=op.reference or known.reference,
                state=_stands(known.state, op.state),
                at=known.at,
                age=known.age,
            )
    return list(found.values())


def has_bounced(operation: Operation) -> bool:
    """Whether it is a refund that the gateway was found to have given up: the customer's bank sent
    it back, days after it had succeeded as it may be. In SQL: `bounced` of storage.payments."""
    of = operation
    return (of.kind, of.state, of.code) == ("refund", "failed", OBSERVED)


def _stands(known: State, then: State) -> State:
    """An unanswered look at what is pending leaves it pending."""
    return "pending" if known == "pending" and then in ("unknown", "requested") else then


def _sum(operations: Iterable[Operation], kind: Kind) -> int:
    return sum(op.amount for op in operations if op.kind == kind)


def is_foreign(operation: Operation) -> bool:
    """Whether someone at the gateway did it: it goes by the gateway's own name."""
    return operation.key == operation.reference


def call_of(operation: Operation, method: str | None, parent: str | None) -> Call:
    """The gateway call that `operation` stands for. Only what follows an authorization has it for a
    parent: an authorization asked for again must be asked for in the same words."""
    parent = None if operation.kind == "authorize" else parent
    return Call(
        operation.kind, operation.key, operation.amount, operation.currency, method, parent,
        operation.order_id, operation.at,
    )  # fmt: skip


def ended(operation: Operation, answer: Answer) -> Operation | None:
    """What `answer` made of `operation`, as the row to be added; None where nothing was done."""
    match answer:
        case Succeeded(reference):
            return replace(operation, state="succeeded", reference=reference, code=None)
        case RequiresAction(reference):
            return replace(operation, state="pending", reference=reference, code=None)
        case Declined(code):
            return replace(operation, state="failed", code=code[:128])
        case Refused(code):
            # A capture has one key for ever: it stays open, to be asked for again.
            failed = replace(operation, state="failed", code=code[:128])
            return None if operation.kind == "capture" else failed
        case Unknown(cause):
            return replace(operation, state="unknown", code=cause[:128])
        case Unavailable():
            return None
