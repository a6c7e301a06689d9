"""Where webhooks may go: to addresses of the public internet, and what the shop has named besides.

Upstream systems choose the URLs, and our hosts reach what theirs don't: an endpoint must not become
a way into the shop's own network. So a name is resolved, each address looked at, and the connection
made to an address that was looked at: what the name means a moment later is of no consequence.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx

from pipeline.cards import holds_card_number
from pipeline.errors import ConfigurationError, InvalidInput

MOST_URL = 2000
SETTING = "ORDERMILL_WEBHOOK_ALLOW"

EXAMPLE = "https://shop.example/hooks"
_HTTPS = f"expected https; http goes only to what {SETTING} names"
_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,252}[a-z0-9])?")

#: Protocols' own, relays to IPv6: global to some versions of `ipaddress`.
_SPECIAL = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
#: Ways to write an IPv4 address as one of the public IPv6: nobody who is well addresses so.
_TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))

Address = IPv4Address | IPv6Address


class TargetRefused(Exception):
    """A webhook may not go there; completes "the target is refused: …"."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Hosts, and networks of addresses, that are no part of the public internet and allowed all the
    same; and by http, too."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def has(self, host: str, address: Address) -> bool:
        return host in self.hosts or any(
            address.version == network.version and address in network for network in self.networks
        )


def parse_allowed(setting: str) -> Allowed:
    """From names and networks (10.0.0.0/8, ::1, erp.internal), separated by commas."""
    hosts: set[str] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for each in filter(None, map(str.strip, setting.split(","))):
        try:
            networks.append(ip_network(each))
        except ValueError:
            if "/" in each or ":" in each or " " in each:
                raise ConfigurationError(
                    f"{SETTING}: got {each!r}, expected a host such as erp.internal, or a network "
                    "such as 10.0.0.0/8"
                ) from None
            hosts.add(each.lower().rstrip("."))
    return Allowed(frozenset(hosts), tuple(networks))


def valid_url(given: str, allowed: Allowed) -> str:
    """A URL that can be an endpoint's, as far as one can see without resolving its name;
    InvalidInput says what is wrong with it."""
    if not 0 < len(given) <= MOST_URL or not given.isascii() or not given.isprintable():
        raise InvalidInput(f"url: expected at most {MOST_URL:,} printable ASCII characters")
    try:
        url = httpx.URL(given)
        host, port = host_of(url), url.port or 443
        literal = _address(host)
    except (httpx.InvalidURL, ValueError):
        raise InvalidInput(f"url: expected one such as {EXAMPLE}") from None
    is_named = literal is not None or _NAME.fullmatch(host) is not None
    if url.scheme not in ("https", "http") or not is_named or not 0 < port < 65_536:
        raise InvalidInput(f"url: expected one such as {EXAMPLE}")
    if url.userinfo or url.fragment:
        raise InvalidInput("url: expected no user, no password and no #fragment in it")
    if holds_card_number(given):
        raise InvalidInput("url: expected no payment card number in it")
    try:
        if literal is not None:
            choose(host, [literal], allowed, url.scheme)
        elif url.scheme == "http" and host not in allowed.hosts and not allowed.networks:
            raise TargetRefused(_HTTPS)
    except TargetRefused as refused:
        raise InvalidInput(f"url: {refused}") from None
    return given


def host_of(url: httpx.URL) -> str:
    """The host as DNS knows it, in small letters."""
    return url.raw_host.decode("ascii").lower().rstrip(".")


def resolve(host: str, port: int) -> list[Address]:
    """What the name means now; it waits for the network. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(str(entry[4][0])) for entry in found]


def choose(
    host: str, addresses: Iterable[Address], allowed: Allowed, scheme: str = "https"
) -> list[Address]:
    """Of the addresses of a host those that may be called; TargetRefused if there is none."""
    found = list(dict.fromkeys(addresses))
    named = [each for each in found if allowed.has(host, each)]
    if named:
        return named
    public = [each for each in found if _is_public(each)]
    if not public:
        raise TargetRefused(f"{_listed(found)} is not of the public internet; see {SETTING}")
    if scheme != "https":
        raise TargetRefused(_HTTPS)
    return public


def _listed(addresses: Sequence[Address]) -> str:
    return str(addresses[0]) if addresses else "no address"


def _address(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:  # 127.1, 0x7f000001, 2130706433: what the system's resolver takes for an address
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        is_special = address.is_multicast or any(address in network for network in _SPECIAL)
        return address.is_global and not is_special
    if address.ipv4_mapped is not None:
        return _is_public(address.ipv4_mapped)
    if address in _NAT64:  # how a host without IPv4 reaches all that has nothing else
        return _is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _UNICAST or any(address in tunnel for tunnel in _TUNNELS):
        return False
    return address.is_global
