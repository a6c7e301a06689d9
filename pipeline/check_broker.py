"""What is wrong with the broker: it is asked for all that a worker asks it for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from pipeline.brokers import KINDS, RABBITMQ, REDIS, SENTINEL, redis_client, scheme, shown
from pipeline.checked import Check
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

_PROBED, _PEEKED, _WRITTEN = "ordermill:check", "ordermill:check.list", "ordermill:check.text"
#: A server that is full must take this all the same: workers fetch by scripts with that flag.
_PROBE = """#!lua flags=allow-oom
redis.call('HSET', KEYS[1], 'a', 'b')
redis.call('DEL', KEYS[1])
return redis.call('TIME')
"""
_ACL = "`ACL SETUSER NAME ~ordermill:* +@read +@write +@scripting +@connection +@blocking +time`"
_OLDEST_REDIS = 7


def check_broker(settings: Settings) -> Iterator[Check]:
    """A broker that no order would flow through is an error."""
    url = settings.broker_url
    kind = scheme(url)
    if kind == "memory":
        yield Check("broker", "ok", shown(url))
    elif kind in RABBITMQ:
        yield _rabbitmq(url)
    elif kind in (*REDIS, *SENTINEL):
        yield from _redis(url)
    else:
        yield Check(
            "broker", "error", f"{shown(url)} is of no known kind",
            f"set ORDERMILL_BROKER_URL to {KINDS}",
        )  # fmt: skip


def _redis(url: str) -> Iterator[Check]:
    try:
        client = redis_client(url)
    except ConfigurationError as error:
        yield Check("broker", "error", str(error), "mend ORDERMILL_BROKER_URL")
        return
    try:
        yield from _asked(client, shown(url))
    except redis.RedisError as error:
        yield Check("broker", "error", f"{shown(url)} {_told(error)}", _mend(error))
    finally:
        client.close()


def _asked(client: Any, where: str) -> Iterator[Check]:
    client.ping()
    facts = _facts(client)
    version = facts.get("version", "")
    if version and int(version.partition(".")[0]) < _OLDEST_REDIS:
        yield Check(
            "broker", "error", f"{where} is version {version}",
            f"use Redis or Valkey {_OLDEST_REDIS} or later",
        )  # fmt: skip
        return
    is_full = _is_full(client)
    if not is_full:
        client.blmove(_PEEKED, _PEEKED, 0.01, "LEFT", "LEFT")
    client.eval(_PROBE, 1, _PROBED)
    yield Check("broker", "ok", f"{where}{f', version {version}' if version else ''}")
    if is_full:
        yield Check(
            "broker memory", "error",
            "is full: messages of upstream systems are refused (what waits is still worked off)",
            "give it more (`maxmemory`), or find what fills it",
        )  # fmt: skip
    yield from _keeping(facts)


def _is_full(client: Any) -> bool:
    try:
        client.set(_WRITTEN, "1", px=1)
    except redis.OutOfMemoryError:
        return True
    return False


def _facts(client: Any) -> dict[str, str]:
    """version, appendonly, policy: those that the server lets us know."""
    facts: dict[str, str] = {}
    try:
        told = client.info()
        facts["version"] = str(told.get("redis_version", ""))
        facts["appendonly"] = "yes" if told.get("aof_enabled") else "no"
        facts["policy"] = str(told.get("maxmemory_policy", ""))
    except redis.ResponseError:  # managed servers, and users with few rights, are not told
        try:
            facts["appendonly"] = client.config_get("appendonly").get("appendonly", "")
            facts["policy"] = client.config_get("maxmemory-policy").get("maxmemory-policy", "")
        except redis.ResponseError:
            return {}
    return {name: value for name, value in facts.items() if value}


def _keeping(facts: dict[str, str]) -> Iterator[Check]:
    if "policy" not in facts or "appendonly" not in facts:
        yield Check(
            "broker settings", "warning", "can't be looked at: neither INFO nor CONFIG is allowed",
            "see to it that maxmemory-policy is noeviction, and appendonly yes",
        )  # fmt: skip
    if facts.get("appendonly") == "no":
        yield Check(
            "broker persistence", "warning",
            "is off: orders enqueued as messages and not yet taken in are lost when it restarts "
            "(orders accepted in any other way are safe)",
            "set appendonly yes",
        )  # fmt: skip
    if facts.get("policy", "noeviction") != "noeviction":
        yield Check(
            "broker eviction", "error",
            f"is {facts['policy']}: it drops messages when memory is short",
            "set maxmemory-policy noeviction",
        )  # fmt: skip


def _told(error: redis.RedisError) -> str:
    match error:
        case redis.exceptions.NoPermissionError():
            return f"doesn't let its user do what workers do: {error}"
        case redis.AuthenticationError():
            return f"refuses our user or password: {error}"
        case redis.TimeoutError():
            return "doesn't answer"
        case redis.ConnectionError() if "is a replica" in str(error):
            return str(error).replace("the server is", "is", 1)
        case redis.ConnectionError():
            return f"can't be reached: {error}"
    return f"refuses what workers do: {error}"


def _mend(error: redis.RedisError) -> str:
    match error:
        case redis.exceptions.NoPermissionError():
            return _ACL
        case redis.AuthenticationError():
            return "mend user and password in ORDERMILL_BROKER_URL"
        case redis.ConnectionError() if "is a replica" in str(error):
            return "name the primary in ORDERMILL_BROKER_URL, or use sentinel://"
    return "start the server, or set ORDERMILL_BROKER_URL"


def _rabbitmq(url: str) -> Check:
    try:
        import pika
    except ModuleNotFoundError:
        return Check(
            "broker", "error", f"{shown(url)} needs pika, which is not installed",
            "install the extra: pip install 'ordermill[rabbitmq]'",
        )  # fmt: skip
    try:
        asked = pika.URLParameters(url)
        asked.socket_timeout = asked.stack_timeout = 5
        asked.blocked_connection_timeout = 5
        connection = pika.BlockingConnection(asked)
        connection.channel().queue_declare("ordermill.check", auto_delete=True, exclusive=True)
        connection.close()
    except (pika.exceptions.AMQPError, OSError, ValueError, TypeError) as error:
        told = str(error) or type(error).__name__
        return Check(
            "broker", "error", f"{shown(url)} can't be used: {told}",
            "start the server, or mend ORDERMILL_BROKER_URL",
        )  # fmt: skip
    return Check("broker", "ok", shown(url))
