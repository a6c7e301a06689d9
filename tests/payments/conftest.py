"""A Stripe to test against: localstripe in a process of its own, a strict and faulty proxy before it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.payments.faulty_proxy import FaultyProxy, faulty_proxy
from tests.payments.localstripe import localstripe


@pytest.fixture(scope="session")
def localstripe_url() -> Iterator[str]:
    with localstripe() as url:
        yield url


@pytest.fixture
def proxy(localstripe_url: str) -> Iterator[FaultyProxy]:
    """In front of an empty localstripe."""
    httpx.delete(f"{localstripe_url}/_config/data")
    with faulty_proxy(localstripe_url) as proxy:
        yield proxy
