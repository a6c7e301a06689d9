"""announce: wakes workers for dispatches that are due and that nobody has come for.

Whatever was lost (a message, a worker, all of Redis), this finds it: a due dispatch that is not
leased is work, whoever was or wasn't told before.
"""

from __future__ import annotations

from typing import Protocol

from pipeline.assembly import Application
from pipeline.engine.engine import Announcer
from pipeline.storage import dispatches

#: Seconds that a dispatch may wait for its own message before it is announced again.
GRACE = 1.0
#: Wake-ups on their way for one step are topped up to this, never more: a claim absorbs what waits.
MOST_WAKE_UPS = 4


class CountingAnnouncer(Announcer, Protocol):
    def waiting(self, step: str) -> int:
        """Wake-ups for `step` that no worker has fetched yet."""


def announce(app: Application, announcer: CountingAnnouncer) -> dict[str, int]:
    """Top up the wake-ups of every step with due work; how many were sent, by step."""
    with app.database.snapshot() as tx:
        waiting = dispatches.waiting(tx, GRACE)
    sent: dict[str, int] = {}
    for step, (count, first) in waiting.items():
        for _ in range(min(count, MOST_WAKE_UPS) - announcer.waiting(step)):
            announcer.announce(step, first)
            sent[step] = sent.get(step, 0) + 1
    return sent
