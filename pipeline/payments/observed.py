"""What reading a payment at the gateway tells that our rows don't, as rows to be added. Pure.

Only what happened is taken from a reading: that something did *not* happen is decided by who
asked for it, who knows whether a call may still be on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline.payments.account import (
    OBSERVED,
    Operation,
    State,
    fold,
    follow_up,
    has_bounced,
    latest_of,
)
from pipeline.payments.gateway import Payment, Reversal, capture_key, void_key

_STATES: dict[str, State] = {"open": "pending", "succeeded": "succeeded", "failed": "failed"}


def authorization_of(operations: Iterable[Operation], payment: Payment) -> Operation | None:
    """The request that `payment` is the gateway's side of; None if it is none of these."""
    ours = (op for op in operations if op.kind == "authorize" and op.key == payment.key)
    return next((op for op in ours if op.state == "requested"), None)


def observed(
    operations: Sequence[Operation], authorization: Operation, payment: Payment
) -> list[Operation]:
    """The rows that `payment` adds to the `operations` of its order."""
    known = {op.key: op for op in latest_of(operations)}
    found = [
        *_authorized(known, authorization, payment),
        *_captured(known, authorization, payment),
        *_voided(operations, authorization, payment),
    ]
    failed = {op.key for op in operations if op.state == "failed"}
    return found + [
        row
        for reversal in payment.reversals
        for row in _reversed(known, failed, authorization, reversal)
    ]


def _authorized(
    known: dict[str, Operation], authorization: Operation, payment: Payment
) -> Iterator[Operation]:
    state = known[authorization.key].state
    if payment.status in ("authorized", "captured") and state != "succeeded":
        yield _row(authorization, "succeeded", payment.reference)
    elif payment.status == "requires_action" and state in ("requested", "unknown"):
        yield _row(authorization, "pending", payment.reference)


def _captured(
    known: dict[str, Operation], authorization: Operation, payment: Payment
) -> Iterator[Operation]:
    capture = follow_up(authorization, "capture", payment.captured, capture_key(authorization.key))
    if payment.captured and not _has(known, capture.key, "succeeded"):
        yield _row(capture, "succeeded", payment.reference)


def _voided(
    operations: Sequence[Operation], authorization: Operation, payment: Payment
) -> Iterator[Operation]:
    """A void of ours whose answer was lost, or one made at the gateway of what we have a claim on.
    What is captured can't be voided any more: one that was asked for has failed."""
    account = fold(operations)
    asked = account.open_of("void") is not None
    void = follow_up(authorization, "void", authorization.amount, void_key(authorization.key))
    if payment.status == "voided" and not account.voided and (asked or account.authorization):
        yield _row(void, "succeeded", payment.reference)
    elif payment.captured and asked:
        yield _row(void, "failed", payment.reference)


def _reversed(
    known: dict[str, Operation],
    failed: Collection[str],
    authorization: Operation,
    reversal: Reversal,
) -> Iterator[Operation]:
    key, state = reversal.key or reversal.reference, _STATES[reversal.state]
    told = known.get(key)
    if told is None:
        is_news = state != "failed"
    elif told.state == "succeeded":  # for good, but for a refund that the customer's bank sent back
        is_news = told.kind == "refund" and state == "failed" and key not in failed
    else:  # that one is on its way is known; what failed stays so, unless it succeeded after all
        is_news = state not in ("pending", told.state) and not has_bounced(told)
    if is_news:
        row = told or follow_up(authorization, reversal.kind, reversal.amount, key)
        yield _row(row, state, reversal.reference)


def _has(known: dict[str, Operation], key: str, state: State) -> bool:
    return key in known and known[key].state == state


def _row(operation: Operation, state: State, reference: str) -> Operation:
    return replace(operation, state=state, reference=reference, code=OBSERVED)
