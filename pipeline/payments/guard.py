"""What stands between us and a gateway: a circuit breaker and a rate limit, one for each process.

Both answer `Unavailable`, which postpones an order and burns none of its attempts: a gateway that
is down is not asked by every order in turn, and one that is up is not asked faster than it allows.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Literal, TypeVar

from pipeline.payments.gateway import (
    Answer,
    BookEntry,
    Call,
    Gateway,
    GatewayEvent,
    Payment,
    Unavailable,
    Unknown,
)
from pipeline.telemetry import tracing
from pipeline.telemetry.metrics import GATEWAY_REFUSALS, GATEWAY_SECONDS

#: Seconds that a call waits for its turn under the rate limit. Few, as they count towards the time
#: after which nobody can still be calling (`latest_charge`); enough for a pool of threads to fall
#: into step with the rate instead of postponing whole batches once a second.
PATIENCE = 2.0

State = Literal["closed", "open"]
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
T = TypeVar("T")


class Breaker:
    """Opens after `failures` in a row, and after `rest` seconds lets one call through to probe.

    Nothing is locked during a call: any number may be under way, and each reports how it went.
    """

    def __init__(
        self, failures: int, rest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._rest = rest
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._asks_again_at: float | None = None  # None: closed

    @property
    def state(self) -> State:
        return "closed" if self._asks_again_at is None else "open"

    def refuse(self) -> float | None:
        """None: go ahead, and report; else the seconds after which to ask again."""
        if self._asks_again_at is None:
            return None
        with self._lock:
            if self._asks_again_at is None:
                return None
            now = self._clock()
            if now < self._asks_again_at:
                return self._asks_again_at - now
            # The caller is the probe. Who comes after it waits; a probe that never reports, as
            # its process hangs or the adapter is defective, is followed by another.
            self._asks_again_at = now + self._rest
            return None

    def report(self, *, well: bool) -> None:
        """How a call went that was let through."""
        if well and not self._failures and self._asks_again_at is None:
            return
        with self._lock:
            if well:
                self._failures, self._asks_again_at = 0, None
                return
            self._failures += 1
            if self._failures >= self._limit:
                self._asks_again_at = self._clock() + self._rest


class Turns:
    """So many calls in any second, by the monotonic clock: a host's clock that is set back must not
    make anybody wait for the time that it was."""

    def __init__(self, rate: int) -> None:
        self._taken = deque[float](maxlen=rate)
        self._lock = threading.Lock()

    def take(self) -> float:
        """0 if there was a turn, which is taken; else the seconds until there will be one."""
        with self._lock:
            at = time.monotonic()
            if len(self._taken) == self._taken.maxlen and at - self._taken[0] < 1.0:
                return 1.0 - (at - self._taken[0])
            self._taken.append(at)
            return 0.0


class GuardedGateway:
    """`gateway` behind a breaker and at most `rate` calls a second (0: any number).

    Thread-safe. Lists and events are read as they are: they have one reader at a time, who is
    told by GatewayAway.
    """

    def __init__(self, gateway: Gateway, *, breaker: Breaker, rate: int = 0) -> None:
        self.name = gateway.name
        self.gateway = gateway
        self._breaker = breaker
        self._turns = Turns(rate) if rate else None

    @property
    def state(self) -> State:
        """Of the breaker: `closed` lets calls through, `open` only a probe now and then."""
        return self._breaker.state

    def perform(self, call: Call) -> Answer:
        return self._guard(call.kind, lambda: self.gateway.perform(call))

    def find(self, call: Call) -> Answer | None:
        return self._guard("find", lambda: self.gateway.find(call))

    def read(self, reference: str) -> Payment | None | Unknown:
        answer = self._guard("read", lambda: self.gateway.read(reference))
        return Unknown(answer.cause) if isinstance(answer, Unavailable) else answer

    def book(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BookEntry]:
        return self.gateway.book(since, until)

    def verify(self, payload: bytes, headers: Mapping[str, str]) -> GatewayEvent | None:
        return self.gateway.verify(payload, headers)

    def events(self, since: datetime) -> Iterator[GatewayEvent]:
        return self.gateway.events(since)

    def _guard(self, what: str, ask: Callable[[], T]) -> T | Unavailable:
        left = self._breaker.refuse()
        if left is not None:
            GATEWAY_REFUSALS.labels(self.name, "breaker").inc()
            return Unavailable(f"{self.name} has been unwell and is left alone", left)
        left = self._wait_for_a_turn()
        if left is not None:
            GATEWAY_REFUSALS.labels(self.name, "rate").inc()
            return Unavailable(f"{self.name} is asked as often as its rate allows", left)
        began = time.perf_counter()
        with tracing.call(f"gateway {what}", {"ordermill.gateway": self.name}) as told:
            answer = ask()
            name = _named(answer)
            told(name)
        GATEWAY_SECONDS.labels(self.name, what, name).observe(time.perf_counter() - began)
        self._breaker.report(well=not isinstance(answer, (Unknown, Unavailable)))
        return answer

    def _wait_for_a_turn(self) -> float | None:
        """None once it has come; the seconds after which to try again if it would take long."""
        if self._turns is None:
            return None
        give_up = time.monotonic() + PATIENCE
        while (left := self._turns.take()) > 0:
            if time.monotonic() + left > give_up:
                return left
            time.sleep(left)
        return None


def _named(answer: object) -> str:
    """What a gateway answered, in a word: `declined`, `requires_action`, `unknown`, …; `none` where it
    knows of nothing."""
    name = "none" if answer is None else type(answer).__name__
    return _HUMPS.sub("_", name).lower()
