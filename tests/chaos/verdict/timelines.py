"""Each order's timeline tells how it came to be what it is; and nobody was blamed for our troubles."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.verdict.case import Case

#: Why an order may wait for a person here: all else would blame an innocent.
RIGHT_REASONS = frozenset({"amount_over_limit"})
SETTLED = frozenset({"confirmed", "rejected", "cancelled", "on_hold"})


def timelines(case: Case) -> Iterator[str]:
    for order_id, row in case.rows.orders.items():
        events = case.rows.events.get(order_id, [])
        yield from _told(order_id, row, events)
        yield from _held(order_id, row, events)
    yield from _unsettled(case)
    if orphans := case.rows.events.keys() - case.rows.orders.keys():
        yield f"events of orders that are not there: {sorted(orphans)}"


def _told(order_id: int, row: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[str]:
    numbers = [event["seq"] for event in events]
    if numbers != list(range(1, row["version"] + 1)):
        yield f"order {order_id} is at version {row['version']}, and has events {numbers}"
        return
    status = None
    for event in events:
        if (came_from := event["from_status"]) is not None and came_from != status:
            yield f"order {order_id}: event {event['seq']} goes from {came_from}, it was {status}"
        status = event["to_status"] or status
    if status != row["status"]:
        yield f"order {order_id} is {row['status']}, its timeline says {status}"
    kinds = Counter(event["kind"] for event in events)
    if kinds["received"] != 1 or kinds["cancel_requested"] > 1:
        yield f"order {order_id} was told of so: {dict(kinds)}"


def _held(order_id: int, row: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        is_held = event["to_status"] == "on_hold" and event["kind"] != "cancel_requested"
        if is_held and event["reason"] not in RIGHT_REASONS:
            yield f"order {order_id} was held at {event['stage']}: {event['reason']}, {event['detail']}"
    if row["status"] == "on_hold" and row["reason"] in RIGHT_REASONS:
        yield f"order {order_id} is still on hold: {row['reason']}"


def _unsettled(case: Case) -> Iterator[str]:
    """All is settled, and in no dispatch."""
    due = Counter(
        order_id for row in case.rows.dispatches for order_id in json.loads(row["order_ids"])
    )
    for order_id, row in case.rows.orders.items():
        is_settled = row["status"] in SETTLED
        if is_settled != (row["settled_at"] is not None):
            yield f"order {order_id} is {row['status']}, settled at {row['settled_at']}"
        if not is_settled:
            yield f"order {order_id} is {row['status']} at {row['stage']}, and not settled"
        if due[order_id] != (not is_settled):
            yield f"order {order_id} is {row['status']}, and in {due[order_id]} dispatches"
