"""Whom an address is counted as."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network


def network_of(address: str) -> str:
    """The address itself; in IPv6 its /64, all of which one household, or one host, has."""
    try:
        read = ip_address(address)
    except ValueError:
        return address
    if isinstance(read, IPv4Address):
        return str(read)
    return str(read.ipv4_mapped or ip_network((read.packed[:8] + bytes(8), 64)))
