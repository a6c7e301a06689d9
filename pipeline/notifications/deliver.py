"""Delivering a batch of notifications at once, so that a slow channel delays only itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from pipeline.notifications.message import Delivery, Failed, Notification, Sender
from pipeline.notifications.pager import LogPager

#: Conversations in one channel at a time: enough to hide its latency, too few to harm it.
STRANDS = 4


class Courier:
    """Hands each notification to the sender of its channel.

    `size` is how many conversations one `deliver` holds at a time. `deadline` is how many seconds
    it takes at most; it should exceed the senders' time-outs.
    """

    def __init__(
        self,
        email: Sender,
        pager: Sender | None = None,
        *,
        size: int = 16,
        deadline: float = 30.0,
    ) -> None:
        self._senders = {"email": email, "page": pager or LogPager()}
        self._size = size
        self._deadline = deadline

    def deliver(self, notifications: Sequence[Notification]) -> list[Delivery]:
        """One result for each, in input order. Never raises for a failure.

        What has not answered by the deadline counts as failed, although it may yet get there.
        """
        results: list[Delivery | None] = [None] * len(notifications)
        over = time.monotonic() + self._deadline
        # A pool for this batch alone: who is stuck with a server can't hold up the next batch.
        pool = ThreadPoolExecutor(self._size, thread_name_prefix="courier")
        conversations = [
            pool.submit(self._converse, strand, notifications, results, over)
            for strand in _strands(notifications)
        ]
        wait(conversations, timeout=self._deadline)
        pool.shutdown(wait=False, cancel_futures=True)
        late = Failed(f"no answer within {self._deadline:g} s")
        return [late if result is None else result for result in results]

    def _converse(
        self,
        strand: Sequence[int],
        notifications: Sequence[Notification],
        results: list[Delivery | None],
        over: float,
    ) -> None:
        """Deliver the notifications at the positions `strand`, one after the other, until `over`."""
        sender = self._senders[notifications[strand[0]].channel]
        deliveries = sender.send([notifications[position] for position in strand])
        try:
            for delivery, position in zip(deliveries, strand, strict=True):
                results[position] = delivery
                if time.monotonic() > over:  # the rest was called late, and another will send it
                    return
        except Exception as defect:  # a sender's own; the other channels must not suffer for it
            for position in strand:
                results[position] = results[position] or Failed(f"the sender broke: {defect!r}")


def _strands(notifications: Sequence[Notification]) -> list[list[int]]:
    """Positions by channel, those of a busy one dealt out to several strands."""
    channels: defaultdict[str, list[int]] = defaultdict(list)
    for position, notification in enumerate(notifications):
        channels[notification.channel].append(position)
    return [
        positions[start::STRANDS]
        for positions in channels.values()
        for start in range(min(STRANDS, len(positions)))
    ]
