"""An order's payment operations folded into what is authorized, captured, refunded, and what is open.

Operations are append-only: born `requested`, ended once by `succeeded` or `failed`; `unknown` is a
note in between. Everything here is derived from them, purely.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.payments.gateway import Call, Kind

State = Literal["requested", "succeeded", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the operations table: what was asked (`key`) and one thing that became of it.

    `age` is how many seconds ago it was written, when read.
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
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Account:
    """The fold of one order's operations. Amounts in minor units.

    `open` are operations that were asked for and not ended: they may or may not have happened.
    """

    authorization: Operation | None
    captured: int
    refunded: int
    voided: bool
    open: tuple[Operation, ...]

    def open_of(self, kind: Kind) -> Operation | None:
        return next((op for op in self.open if op.kind == kind), None)


def fold(operations: Iterable[Operation]) -> Account:
    """The account that these operations, in the order they were written, amount to."""
    requested: dict[str, Operation] = {}
    ended: dict[str, Operation] = {}
    for op in operations:
        if op.state == "requested":
            requested[op.key] = op
        elif op.state in ("succeeded", "failed"):
            ended[op.key] = op
    happened = [op for op in ended.values() if op.state == "succeeded"]
    return Account(
        authorization=next((op for op in reversed(happened) if op.kind == "authorize"), None),
        captured=sum(op.amount for op in happened if op.kind == "capture"),
        refunded=sum(op.amount for op in happened if op.kind == "refund"),
        voided=any(op.kind == "void" for op in happened),
        open=tuple(op for key, op in requested.items() if key not in ended),
    )


def call_of(operation: Operation, method: str | None, parent: str | None) -> Call:
    """The gateway call that `operation` stands for."""
    return Call(operation.kind, operation.key, operation.amount, operation.currency, method, parent)
