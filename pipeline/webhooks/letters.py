"""What is sent: an event as the feed tells it, in the envelope of Standard Webhooks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.storage import clock, feed
from pipeline.storage.database import Tx
from pipeline.storage.webhook_deliveries import Due
from pipeline.webhooks.types import TEST


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery and its body; None: there is nothing to send any more. `id` is the event's, for
    ever and to all endpoints."""

    delivery: Due
    id: str
    body: str | None


def letters(tx: Tx, endpoint_id: str, due: Sequence[Due]) -> list[Letter]:
    """What these deliveries send, as of now: of an order that was erased meanwhile, what is left."""
    keys = [(d.order_id, d.seq) for d in due if d.order_id is not None and d.seq is not None]
    told = feed.these(tx, keys) if keys else {}
    now = clock.read(tx)
    return [_letter(each, endpoint_id, told, now) for each in due]


def event_id(order_id: int | None, seq: int | None, delivery_id: int) -> str:
    return f"test_{delivery_id}" if order_id is None else f"evt_{order_id}_{seq}"


def _letter(
    due: Due, endpoint_id: str, told: Mapping[tuple[int, int], dict[str, Any]], now: datetime
) -> Letter:
    name = event_id(due.order_id, due.seq, due.id)
    if due.order_id is None or due.seq is None:
        return Letter(due, name, _body(TEST, now, {"endpoint": endpoint_id}))
    event = told.get((due.order_id, due.seq))
    if event is None:
        return Letter(due, name, None)
    return Letter(due, name, _body(due.type, event["at"], event))


def _body(type_: str, at: datetime, data: Mapping[str, Any]) -> str:
    return json.dumps(
        {"type": type_, "timestamp": at.isoformat(), "data": data},
        separators=(",", ":"),
        default=_json,
    )


def _json(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
