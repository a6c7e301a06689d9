"""How the work stands: for each queue what waits, what is in hand, what the last hour brought."""

from __future__ import annotations

from typing import Any

from pipeline.chain import STEPS
from pipeline.storage import counters, dispatches
from pipeline.storage import queues as pauses
from pipeline.storage.database import Tx

HOUR = 3_600


def queues(tx: Tx) -> list[dict[str, Any]]:
    """A row a queue, in the order of the chain; `paused` is by whom, or None."""
    stats, paused, hour = dispatches.stats(tx), pauses.paused(tx), counters.since(tx, HOUR)
    told = []
    for step in STEPS:
        found = stats.get(step)
        told.append(
            {
                "queue": step,
                "orders": int(found.orders) if found else 0,
                "due": int(found.due) if found else 0,
                "running": int(found.running) if found else 0,
                "oldest": found.oldest if found else None,
                **{k: hour.get((step, k), 0) for k in ("advanced", "retried", "held", "rejected")},
                "paused": paused[step].paused_by if step in paused else None,
            }
        )
    return told
