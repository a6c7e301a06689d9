"""What a webhook is about: a move is called by the status that it leads to, all else by its kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.errors import InvalidInput
from pipeline.event_kind import ALWAYS_MOVES, MOVES, EventKind
from pipeline.order import Status

ALL = "*"
TEST = "webhook.test"

_NOTES = tuple(kind for kind in EventKind if kind not in ALWAYS_MOVES)

TYPES = tuple(f"order.{word}" for word in (*Status, *_NOTES))
#: What an endpoint is told of that doesn't say.
USUAL = (
    "order.confirmed", "order.on_hold", "order.backordered", "order.rejected", "order.cancelled",
    "order.shipped", "order.returned", "order.part_cancelled", "order.refunded",
    "order.refund_failed",
)  # fmt: skip


def type_of(kind: str, from_status: str | None, to_status: str | None) -> str:
    """The type of a webhook that tells of such an event."""
    is_move = kind in MOVES and to_status is not None and to_status != from_status
    return f"order.{to_status if is_move else kind}"


def is_wanted(type_: str, types: Collection[str]) -> bool:
    return ALL in types or type_ in types


def valid_types(given: Sequence[str]) -> list[str]:
    """As they are kept; those that are usual if none is given. InvalidInput names one that is none."""
    if unknown := sorted(set(given) - {ALL, *TYPES}):
        raise InvalidInput(f"types: got {unknown[0]!r}, expected * or of {', '.join(TYPES)}")
    return [ALL] if ALL in given else sorted(set(given) or USUAL)
