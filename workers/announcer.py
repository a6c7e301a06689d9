"""Sends hints, and says how many are on their way."""

from __future__ import annotations

from dramatiq import Broker, Message
from dramatiq.brokers.redis import RedisBroker


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
        if isinstance(self._broker, RedisBroker):
            return int(self._broker.client.llen(f"{self._broker.namespace}:{step}"))
        ready: int = self._broker.get_queue_message_counts(step)[0]  # type: ignore[attr-defined]
        return ready
