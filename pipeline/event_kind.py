"""What can happen to an order: the kinds of events in its timeline.

The words are stored, and sent to upstream systems by feed and webhooks: they stay as they are.
"""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    RECEIVED = "received"
    ADVANCED = "advanced"
    HELD = "held"
    REJECTED = "rejected"
    CANCELLED = "cancelled"

    REQUEUED = "requeued"
    REINSTATED = "reinstated"
    CANCEL_REQUESTED = "cancel_requested"
    RETRIED = "retried"
    UNDONE = "undone"
    SHIPPED = "shipped"
    RETURNED = "returned"
    PART_CANCELLED = "part_cancelled"
    CAPTURE_REQUESTED = "capture_requested"
    CAPTURED = "captured"
    CAPTURE_FAILED = "capture_failed"
    VOID_REQUESTED = "void_requested"
    VOIDED = "voided"
    VOID_FAILED = "void_failed"
    REFUND_REQUESTED = "refund_requested"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    PAYMENT_OBSERVED = "payment_observed"
    DISPUTED = "disputed"
    DISPUTE_LOST = "dispute_lost"
    DISPUTE_WON = "dispute_won"
    RESTORED = "restored"
    ERASED = "erased"
    DECIDED = "decided"


_K = EventKind

#: Of these each moves its order: the status that it leads to says what happened.
ALWAYS_MOVES = frozenset({_K.RECEIVED, _K.ADVANCED, _K.HELD, _K.REJECTED, _K.CANCELLED})
#: The engine moves an order by these; some of them it also writes where an order stays.
MOVES = ALWAYS_MOVES | {_K.RETRIED, _K.UNDONE}
