"""How often a key may give codes of coupons that don't exist: a shopper can try them as fast as its
shop asks, and one that exists is told from one that doesn't."""

from __future__ import annotations

import threading
import time
from typing import Any

from starlette.concurrency import run_in_threadpool

from pipeline.intake.schema import MOST_CODE, MOST_COUPONS
from pipeline.pricing.codes import meant
from pipeline.pricing.coupons import Coupons
from pipeline.source import Source
from pipeline.storage import rules
from pipeline.storage.database import Database
from web.problems import Refusal
from web.rates import Bucket

#: Unknown codes that a key may give at once, and how many more a second, in each process.
AT_ONCE, A_SECOND = 60, 1
#: Seconds for which a rule set's codes are remembered.
REMEMBERED = 5.0

TOO_MANY = "too many codes of coupons that don't exist were given: for a while no code is looked at"


class Guesses:
    """What each key has guessed. For any number of threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._left: dict[str, Bucket] = {}
        self._known: dict[str, tuple[float, Coupons]] = {}
        self._lock = threading.Lock()

    async def require(self, key: str, source: Source, data: Any) -> None:
        """429 if an order gives codes, and the key has given too many that there are none of."""
        if not _codes(source, data):
            return
        if await run_in_threadpool(self.are_over, key, source, data):
            raise Refusal(429, "rate-limited", TOO_MANY, headers={"Retry-After": "1"})

    def are_over(self, key: str, source: Source, data: Any) -> bool:
        """Whether an order (a decoded JSON object) gives codes, and the key has given too many that
        there are none of; those it gives count.

        From then on no code is looked at, one that exists as little as others: else the refusal
        would tell them apart as fast as before."""
        codes = _codes(source, data)
        if not codes:
            return False
        known = self._coupons(source.policy.rules)
        unknown = [code for code in codes if known.find(code) is None]
        with self._lock:
            left = self._left.setdefault(key, Bucket(A_SECOND, most=AT_ONCE))
            return left.is_empty or not all(left.take() for _ in unknown)

    def _coupons(self, name: str) -> Coupons:
        until, known = self._known.get(name, (0.0, None))
        if known is None or time.monotonic() >= until:
            with self._database.snapshot() as tx:
                known = rules.newest(tx, [name])[name].rules.coupons
            self._known[name] = (time.monotonic() + REMEMBERED, known)
        return known


def _codes(source: Source, data: Any) -> list[str]:
    """The codes that an order gives. Beside agreed prices they change nothing: there is nothing to
    guess."""
    given = data.get("coupons") if isinstance(data, dict) else None
    if not isinstance(given, list) or source.policy.price_policy == "as_sold":
        return []
    # Of more codes, or of longer ones, the order is refused: they aren't looked at.
    short = (each for each in given[:MOST_COUPONS] if isinstance(each, str))
    return [code for code in short if len(code) <= MOST_CODE and meant(code)]
