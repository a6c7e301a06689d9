"""Sends hints, and says how many are on their way."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from dramatiq import Broker, Message

from pipeline.telemetry.outage import Outage
from workers.redis_broker import HintBroker

log = logging.getLogger(__name__)

#: Hints that wait for a broker that is slow; those that come on top are for the scheduler to find.
MOST_WAITING = 1_000
#: Seconds that a process that ends, or a command, spends on hints that have not been sent yet.
LAST_HINTS = 1.0


class BrokerAnnouncer:
    """A message is the id of a dispatch; its queue and actor bear the step's name."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def announce(self, step: str, dispatch_id: int) -> None:
        message: Message[None] = Message(
            queue_name=step, actor_name=step, args=(dispatch_id,), kwargs={}, options={}
        )
        self._broker.enqueue(message)

    def waiting(self, step: str) -> int:
        """Messages that no worker has fetched yet."""
        if isinstance(self._broker, HintBroker):
            return int(self._broker.client.llen(self._broker.key(step)))
        ready: int = self._broker.waiting(step)  # type: ignore[attr-defined] # RabbitmqHints
        return ready


class PatientAnnouncer:
    """Takes hints at once and sends them from a thread of its own, so that nobody who is answered
    waits for a broker that is slow or away. What it can't send the scheduler finds."""

    def __init__(self, announcer: BrokerAnnouncer) -> None:
        self._announcer = announcer
        self._outage = Outage(log, "hints can't be sent; schedulers find what is due")
        self._hints: deque[tuple[str, int]] = deque(maxlen=MOST_WAITING)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sending = False
        self._closed = False

    def announce(self, step: str, dispatch_id: int) -> None:
        with self._changed:
            if self._closed:
                return
            self._hints.append((step, dispatch_id))
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="hints", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Wait a second at most for what has not been sent."""
        give_up = time.monotonic() + LAST_HINTS
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._hints or self._sending:
                left = give_up - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return

    def _send(self) -> None:
        while True:
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                while not self._hints:
                    if self._closed:
                        return
                    self._changed.wait()
                step, dispatch_id = self._hints.popleft()
                self._sending = True
            try:
                self._announcer.announce(step, dispatch_id)
                self._outage.worked()
            except Exception as error:  # an announcement never stops who announces
                self._outage.failed(error)
                with self._changed:  # those behind it would each wait as long
                    self._hints.clear()
