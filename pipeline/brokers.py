"""How a Redis, or the primary that Sentinel knows, is reached by ORDERMILL_BROKER_URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry as Tries
from redis.sentinel import Sentinel

from pipeline.errors import ConfigurationError
from pipeline.typed import is_digits

REDIS = ("redis", "rediss", "unix")
SENTINEL = ("sentinel", "sentinels")
RABBITMQ = ("amqp", "amqps")
KINDS = (
    "memory://, redis://…, rediss://…, unix://…, sentinel://host,host/name, sentinels://…, "
    "amqp://… or amqps://…"
)

#: Seconds for a connection to be made, and for an answer. A server that hangs is left alone after that.
PATIENCE = 3.0
_OPTIONS: dict[str, Any] = {
    "socket_timeout": PATIENCE,
    "socket_connect_timeout": PATIENCE,
    "socket_keepalive": True,
    "health_check_interval": 30,
}
_SENTINEL_PORT = 26_379


def scheme(url: str) -> str:
    return url.split(":", 1)[0].lower()


def shown(url: str) -> str:
    """The URL without whatever may be secret: user, password, and all that stands behind a `?`."""
    kind, _, rest = url.partition("://")
    where = rest.partition("?")[0]
    return f"{kind}://{where.rpartition('@')[2]}"


def redis_client(url: str) -> Any:
    """A client for `url`; nothing is connected yet. It comes back to whoever is the primary by then:
    a server that turns out to be a replica is left. ConfigurationError if the URL can't be used."""
    try:
        return _by_sentinel(url) if scheme(url) in SENTINEL else _direct(url)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"ORDERMILL_BROKER_URL, {shown(url)}, can't be used: {_without(url, error)}"
        ) from None


def _without(url: str, error: Exception) -> str:
    """What is wrong; errors of the library may quote what it was given."""
    told = str(error).rpartition(".__init__() ")[2]
    secrets = [value for _, value in parse_qsl(urlsplit(url).query)]
    return "an option is wrong" if any(s and s in told for s in secrets) else told


def _retry() -> Tries:
    """Once more and at once: that mends a connection that was cut. What is away is tried later."""
    return Tries(NoBackoff(), 1)


def _direct(url: str) -> Any:
    options = _OPTIONS
    if scheme(url) == "unix":  # nothing is to be found there, nor lost
        options = {name: _OPTIONS[name] for name in ("socket_timeout", "health_check_interval")}
    pool = redis.ConnectionPool.from_url(url, retry=_retry(), **options)
    pool.connection_class = _LEAVING[pool.connection_class]
    pool.connection_class(**pool.connection_kwargs)  # raises if an option is none
    return redis.Redis(connection_pool=pool)


class _LeavesReplicas:
    """A connection that is given up when its server turns out to be no primary (any more): the next
    one goes wherever the name leads by then."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """As in `Connection`."""
        try:
            return super().read_response(*args, **options)  # type: ignore[misc] # of the class it is mixed with
        except redis.ReadOnlyError as error:
            self.disconnect()  # type: ignore[attr-defined] # of that class, too
            raise redis.ConnectionError(f"the server is a replica: {error}") from None


class _Direct(_LeavesReplicas, Connection):
    pass


class _OverTls(_LeavesReplicas, SSLConnection):
    pass


class _OverSocket(_LeavesReplicas, UnixDomainSocketConnection):
    pass


_LEAVING: dict[Any, Any] = {
    Connection: _Direct,
    SSLConnection: _OverTls,
    UnixDomainSocketConnection: _OverSocket,
}


def _by_sentinel(url: str) -> Any:
    """sentinel://user:password@host:26379,host/name/db?sentinel_username=…&sentinel_password=…"""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, db = parts.path.strip("/").partition("/")
    sentinels = list(_addresses(hosts))
    if not sentinels or not name or not is_digits(db or "0"):
        raise ValueError("expected sentinel://host:26379,host:26379/name, perhaps with /db")
    query = parse_qsl(parts.query, keep_blank_values=True)
    of_sentinels = {k.removeprefix("sentinel_"): v for k, v in query if k.startswith("sentinel_")}
    if unknown := of_sentinels.keys() - {"username", "password"}:
        raise ValueError(f"sentinel_{min(unknown)} is no option")
    rest = urlencode([(k, v) for k, v in query if not k.startswith("sentinel_")])
    kind = "rediss" if parts.scheme == "sentinels" else "redis"
    at = f"{user}@" if user else ""
    url = f"{kind}://{at}primary/{db or 0}?{rest}"
    given = dict(parse_url(url))  # type: ignore[no-untyped-call]
    is_tls = given.pop("connection_class", None) is SSLConnection
    given.pop("host", None)
    given.pop("port", None)
    options = {**_OPTIONS, **given, **({"ssl": True} if is_tls else {})}
    encrypted = {k: v for k, v in options.items() if k.startswith("ssl")}
    found = Sentinel(  # type: ignore[no-untyped-call]
        sentinels,
        sentinel_kwargs={
            "socket_timeout": 1.0,
            "socket_connect_timeout": 1.0,
            "retry": Tries(NoBackoff(), 0),
            **encrypted,
            **of_sentinels,
        },
    )
    client = found.master_for(  # type: ignore[no-untyped-call]
        name, retry=_retry(), **options
    )
    pool = client.connection_pool
    pool.connection_class(**pool.connection_kwargs)
    return client


def _addresses(hosts: str) -> Iterator[tuple[str, int]]:
    for each in filter(None, hosts.split(",")):
        parts = urlsplit(f"//{each}")
        if not parts.hostname:
            raise ValueError(f"{each!r} is no host")
        yield parts.hostname, parts.port or _SENTINEL_PORT
