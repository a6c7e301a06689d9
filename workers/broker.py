"""The broker, tuned for hints: messages may be lost, late or doubled; nothing here matters for truth.

Left out on purpose: Retries, Pipelines and delays. They lose steps when Redis is away; a retry is
a dispatch in the database.
"""

from __future__ import annotations

import dramatiq
import redis
from dramatiq.errors import BrokerConnectionError
from dramatiq.middleware import Middleware

from pipeline.brokers import KINDS, RABBITMQ, REDIS, SENTINEL, redis_client, scheme, shown
from pipeline.errors import ConfigurationError
from workers.redis_broker import HintBroker


def make_broker(url: str, middleware: list[Middleware]) -> dramatiq.Broker:
    """The broker for `url`, of one of the KINDS; memory:// is in this process. Nothing is connected
    yet. ConfigurationError if there is no such kind, or an option is none."""
    kind = scheme(url)
    if kind == "memory":
        import fakeredis

        return HintBroker(fakeredis.FakeRedis(), middleware, is_fake=True)
    if kind in (*REDIS, *SENTINEL):
        return HintBroker(redis_client(url), middleware)
    if kind in RABBITMQ:
        return _rabbitmq(url, middleware)
    raise ConfigurationError(f"ORDERMILL_BROKER_URL is {shown(url)!r}; expected {KINDS}")


def is_away(error: BaseException) -> bool:
    """Whether `error` says that the broker was away, full, or refused us: no defect of ours."""
    pika = type(error).__module__.startswith("pika.")
    return pika or isinstance(error, (redis.RedisError, BrokerConnectionError))


def _rabbitmq(url: str, middleware: list[Middleware]) -> dramatiq.Broker:
    try:
        from workers.rabbitmq_broker import RabbitmqHints
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"ORDERMILL_BROKER_URL is {shown(url)!r}, but {error.name} is not installed; "
            "install the extra: pip install 'ordermill[rabbitmq]'"
        ) from error
    return RabbitmqHints(url, middleware)
