"""How long it takes, once the last fault is over, until all is done that was to be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from tests.chaos.listeners import Name, Sink
from tests.chaos.records import Records

LOOK_EVERY = 0.25
NEVER = float("inf")

#: Who waits for stock waits for a person to order it. An undo whose gateway gave no answer waits for
#: ninety seconds before it believes that nothing was done: documented, and told apart.
_UNSETTLED = """
    SELECT count(*) FROM orders o WHERE settled_at IS NULL AND status <> 'backordered'
      AND NOT (stage = 'undo_pay' AND {is_unknown})
"""
_UNKNOWN = """
    EXISTS (SELECT 1 FROM payment_operations p WHERE p.order_id = o.id AND NOT EXISTS (
        SELECT 1 FROM payment_operations q WHERE q.order_id = p.order_id AND q.key = p.key
          AND q.state IN ('succeeded', 'failed')))
"""
UNSETTLED = _UNSETTLED.format(is_unknown=_UNKNOWN)
ANY_UNSETTLED = "SELECT count(*) FROM orders WHERE settled_at IS NULL"
TASKS = "SELECT count(*) FROM payment_tasks"
_VERSIONS = "SELECT id, version FROM orders"
_LATE = """
    SELECT order_id, seq FROM webhook_deliveries
    WHERE state = 'pending' AND attempts > 1 AND order_id IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits until nothing is left, or `within` seconds have gone by since `begun`."""

    records: Records
    begun: float

    def until_none(self, sql: str, within: float) -> float:
        """Seconds since `begun`; NEVER if there are some yet."""
        return self.until(lambda: self.records.number(sql) == 0, within)

    def until_told(self, sink: Sink, within: float) -> float:
        return self.until(lambda: not untold(self.records, sink), within)

    def until(self, is_done: Callable[[], bool], within: float) -> float:
        while time.monotonic() - self.begun < within:
            try:
                if is_done():
                    return time.monotonic() - self.begun
            except DBAPIError:
                pass  # it comes back
            time.sleep(LOOK_EVERY)
        return NEVER


def late(records: Records) -> frozenset[Name]:
    """Webhooks that failed more than once: the next attempt is minutes away, as documented."""
    return frozenset((row["order_id"], row["seq"]) for row in records.rows(_LATE))


def untold(records: Records, sink: Sink) -> set[Name]:
    """Events of orders that are not archived, which the sink has not got, but those that are `late`."""
    happened = {
        (row["id"], seq) for row in records.rows(_VERSIONS) for seq in range(1, row["version"] + 1)
    }
    return happened - sink.received.keys() - late(records)
