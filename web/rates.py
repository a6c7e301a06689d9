"""How often a key may ask: a token bucket for each, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil


class Bucket:
    """Holds up to a second's worth of requests, or `most`, and fills at `rate` a second. Not for
    threads."""

    def __init__(
        self, rate: int, clock: Callable[[], float] = time.monotonic, most: int | None = None
    ) -> None:
        self.rate = rate
        self._clock = clock
        self._most = self._tokens = float(most or rate)
        self._at = clock()

    @property
    def is_empty(self) -> bool:
        """Whether there is none to take."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return self._tokens < 1.0

    def take(self) -> bool:
        """Whether there was one to take."""
        if self.is_empty:
            return False
        self._tokens -= 1.0
        return True

    def headers(self) -> dict[str, str]:
        """As the IETF's draft has them (draft-ietf-httpapi-ratelimit-headers): `r` more now, and in
        `t` seconds the whole quota."""
        full = ceil((self.rate - self._tokens) / self.rate)
        return {
            "RateLimit-Policy": f'"key";q={self.rate};w=1',
            "RateLimit": f'"key";r={int(self._tokens)};t={full}',
        }
