"""Messages on RabbitMQ: dramatiq's broker, with consumers that outlive whatever the server does."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

import pika
from dramatiq import Message
from dramatiq.broker import Consumer
from dramatiq.brokers.rabbitmq import DEAD_MESSAGE_TTL, RabbitmqBroker
from dramatiq.common import xq_name
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware
from pika.exceptions import AMQPError

from pipeline.brokers import shown
from pipeline.errors import ConfigurationError
from pipeline.telemetry.outage import Outage
from workers.messages import Quiet, fetched

log = logging.getLogger(__name__)

#: Seconds before a consumer that lost its connection tries again.
AGAIN = 0.5
#: Seconds for a connection to be made, and that a server short of memory or disk may keep us waiting.
PATIENCE = 5.0


class RabbitmqHints(RabbitmqBroker):
    """`url` is amqp://… or amqps://…"""

    def __init__(self, url: str, middleware: list[Middleware]) -> None:
        try:
            super().__init__(url=url, middleware=middleware, confirm_delivery=True)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"ORDERMILL_BROKER_URL, {shown(url)}, can't be used: {type(error).__name__}"
            ) from None
        each: Any
        for each in self.parameters if isinstance(self.parameters, list) else [self.parameters]:
            each.socket_timeout = each.stack_timeout = PATIENCE
            each.blocked_connection_timeout = PATIENCE
        self.outage = Outage(log, "messages can't be fetched")

    @property
    def consumer_class(self) -> type[RabbitmqConsumer]:
        return RabbitmqConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """As dramatiq's; it connects when it is asked for a message, and not before."""
        return self.consumer_class(self, queue_name, prefetch, timeout)

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """As dramatiq's, but nobody consumes the twin queue of delayed messages: none of ours is."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.queues_pending.add(queue_name)
            self.emit_after("declare_queue", queue_name)
        if ensure:
            self._ensure_queue(queue_name)  # type: ignore[no-untyped-call] # dramatiq's has no types

    def waiting(self, queue_name: str) -> int:
        """Messages that nobody has fetched yet. A connection that is dead is replaced: it may have
        been closed while nobody used it."""
        for tries_left in (True, False):
            try:
                self.declare_queue(queue_name, ensure=True)
                found = self._declare_queue(queue_name)  # type: ignore[no-untyped-call] # nor this
                return int(found.method.message_count)
            except (AMQPError, ConnectionClosed):
                del self.connection
                if not tries_left:
                    raise
        raise AssertionError("it returns or raises")


class _Tagged(Quiet):
    """`tag` is what its connection knows it by; numbers begin anew with every connection."""

    def __init__(self, message: Message[Any], tag: tuple[int, int]) -> None:
        super().__init__(message)
        self.tag = tag


class RabbitmqConsumer(Consumer):
    """Connects, and connects again, for as long as it is asked for messages."""

    def __init__(self, broker: RabbitmqHints, queue_name: str, prefetch: int, timeout: int) -> None:
        self.broker = broker
        self.queue = queue_name
        self._prefetch = prefetch
        self._timeout = timeout / 1000
        self._connection: Any = None
        self._channel: Any = None
        self._iterator: Any = None
        self._generation = 0

    def __next__(self) -> Quiet | None:
        try:
            if self._iterator is None:
                self._connect()
            method, _, body = next(self._iterator)
            self.broker.outage.worked()
        # OSError and AssertionError are what pika raises of a connection that breaks in its hands.
        except (AMQPError, ConnectionClosed, OSError, AssertionError, StopIteration) as error:
            self._lost(error)
            return None
        return None if method is None else self._message(method.delivery_tag, body)

    def ack(self, message: Any) -> None:
        """On a connection that is gone there is nothing to acknowledge: it comes again, which does no
        harm."""
        self._answer(message, "basic_ack")

    def nack(self, message: Any) -> None:
        self._answer(message, "basic_nack", requeue=False)

    def requeue(self, messages: Any) -> None:
        """The server gives to others what a connection that closes has not acknowledged."""

    def close(self) -> None:
        connection, self._iterator = self._connection, None
        if connection is None:
            return
        try:
            connection.process_data_events(0)  # what threads have acknowledged
            connection.close()
        except (AMQPError, OSError, AssertionError, ValueError) as error:
            log.debug("a connection could not be closed: %s", error)

    def _connect(self) -> None:
        # Known at once: what can't be declared here is closed with it.
        self._connection = connection = pika.BlockingConnection(self.broker.parameters)
        channel = connection.channel()
        # It may be gone with the server that had it.
        wanted = self.broker._build_queue_arguments(self.queue)  # type: ignore[no-untyped-call]
        channel.queue_declare(self.queue, durable=True, arguments=wanted)
        channel.queue_declare(
            xq_name(self.queue), durable=True, arguments={"x-message-ttl": DEAD_MESSAGE_TTL}
        )
        channel.basic_qos(prefetch_count=self._prefetch)
        self._generation += 1
        self._channel = channel
        self._iterator = channel.consume(self.queue, inactivity_timeout=self._timeout)

    def _lost(self, error: BaseException) -> None:
        self.broker.outage.failed(error)
        self.close()
        self._connection = None
        time.sleep(AGAIN)

    def _message(self, number: int, body: bytes) -> Quiet:
        return _Tagged(fetched(self.queue, body), (self._generation, number))

    def _answer(self, message: Any, how: str, **options: Any) -> None:
        """Told to the connection's own thread: pika's are no other's to use."""
        generation, number = message.tag
        connection, channel = self._connection, self._channel
        if connection is None or generation != self._generation:
            return
        try:
            connection.add_callback_threadsafe(partial(_tell, channel, how, number, options))
        except (AMQPError, OSError) as error:
            self.broker.outage.failed(error)


def _tell(channel: Any, how: str, number: int, options: dict[str, Any]) -> None:
    if channel.is_open:
        getattr(channel, how)(number, **options)
