"""The broker, tuned for hints: messages may be lost, late or doubled; nothing here matters for truth.

Left out on purpose: Retries, Pipelines and delays. They lose steps when Redis is away; a retry is
a dispatch in the database.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware

from pipeline.errors import ConfigurationError

NAMESPACE = "ordermill"

#: Milliseconds without a sign of life before what a worker fetched goes back to its queue. Only
#: the intake queue needs it: everything else is announced again from the database.
HEARTBEAT_TIMEOUT = 5_000

#: Seconds that a consumer waits on an empty queue before it looks whether it should stop.
BLOCK = 0.5


class WakefulConsumer(_RedisConsumer):
    """Blocks on an empty queue instead of polling it with a growing back-off.

    dramatiq's own consumer sleeps up to a second between looks; a chain of stages at rest then
    takes that long for each. BLMOVE from the head of the list to its head is a peek that waits.
    """

    _look_again = 0.0

    def __next__(self) -> Any:
        if not self.message_cache and not self._wait_for_messages():
            return None
        return super().__next__()  # type: ignore[no-untyped-call] # dramatiq's has no types

    def _wait_for_messages(self) -> bool:
        """Block for up to half a second, so that a stop is noticed; then fetch what there is."""
        room = self.prefetch - self.outstanding_message_count
        if room <= 0:
            time.sleep(0.01)
            return False
        key = f"{self.broker.namespace}:{self.queue_name}"
        try:
            began = time.monotonic()
            found = self.broker.client.blmove(key, key, BLOCK, "LEFT", "LEFT") is not None
            # Now and then also when nothing was: a fetch is our sign of life, and the only thing
            # that brings back to this queue what a worker held that died.
            if found or began > self._look_again:
                self._look_again = began + HEARTBEAT_TIMEOUT / 2_000
                self.message_cache = self.broker.do_fetch(self.queue_name, room)
            if not found and time.monotonic() - began < BLOCK / 2:
                time.sleep(0.01)  # fakeredis answers at once where a server would block
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call] # nor has this
        return bool(self.message_cache)

    def close(self) -> None:
        """Called when the connection broke, too: messages that were fetched for us may never have
        come. Under a new name we let the old one fall silent, so that they are brought back."""
        self.broker.broker_id = str(uuid.uuid4())


class WakefulRedisBroker(RedisBroker):
    @property
    def consumer_class(self) -> type[WakefulConsumer]:
        return WakefulConsumer

    def declare_queue(self, queue_name: str) -> None:
        """As dramatiq's, but for the twin queue of delayed messages: nothing of ours is delayed."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)


def make_broker(url: str, middleware: list[Middleware]) -> dramatiq.Broker:
    """The broker for `url`: memory:// (in this process), redis://, rediss://, amqp://, amqps://."""
    scheme = url.split(":", 1)[0]
    if scheme == "memory":
        import fakeredis

        return _redis_broker(fakeredis.FakeRedis(), middleware)
    if scheme in ("redis", "rediss", "unix"):
        return _redis_broker(redis.Redis.from_url(url, health_check_interval=30), middleware)
    if scheme in ("amqp", "amqps"):
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=url, middleware=middleware, confirm_delivery=True)
    raise ConfigurationError(
        f"ORDERMILL_BROKER_URL is {url!r}; expected memory://, redis://… or amqp://…"
    )


def _redis_broker(client: Any, middleware: list[Middleware]) -> RedisBroker:
    return WakefulRedisBroker(  # type: ignore[no-untyped-call] # nor has this
        client=client,
        middleware=middleware,
        namespace=NAMESPACE,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        maintenance_chance=1_000_000,
    )
