"""A gateway of our own for tests, demos and benchmarks: keeps a book, and fails on demand.

It is strict where real gateways are strict (idempotency keys, captures, refunds, voids), and its
faults are deterministic: by the payment method's token (`TOKENS`), or at rates that a seed and
the call's key decide (`SandboxFaults`), so that every run of a test fails in the same places.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.payments.gateway import (
    Answer,
    BookEntry,
    Call,
    Declined,
    Succeeded,
    Unavailable,
    Unknown,
)
from pipeline.payments.sandbox_book import Book, FileBook, MemoryBook, asks_of, reference

SLOW_SECONDS = 2.0
RETRY_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a call, the first `times` times that its key is seen (None: always).

    `decline` is recorded as the key's answer. `instead` is said and nothing is done; `after` is
    said although it was done.
    """

    times: int | None = 1
    decline: str | None = None
    instead: Answer | None = None
    after: Answer | None = None
    delay: float = 0.0
    crash: bool = False


SLOW = Fault(times=None, delay=SLOW_SECONDS)
TIMEOUT_BEFORE = Fault(instead=Unknown("the sandbox timed out"))
TIMEOUT_AFTER = Fault(after=Unknown("the sandbox timed out"))
ERROR_500 = Fault(instead=Unknown("the sandbox answered 500"))
RATE_LIMITED = Fault(instead=Unavailable("the sandbox answered 429", RETRY_AFTER_SECONDS))

#: What `Call.method` of an authorization brings about; any other token is good.
TOKENS: dict[str, Fault] = {
    "pm_card_declined": Fault(times=None, decline="card_declined"),
    "pm_card_insufficient_funds": Fault(times=None, decline="insufficient_funds"),
    "pm_timeout_before": TIMEOUT_BEFORE,
    "pm_timeout_after": TIMEOUT_AFTER,
    "pm_error_500": ERROR_500,
    "pm_rate_limited": RATE_LIMITED,
    "pm_flaky": Fault(times=2, instead=Unavailable("the sandbox refused the connection")),
    "pm_slow": SLOW,
    "pm_crash": Fault(times=None, crash=True),
}


@dataclass(frozen=True, slots=True)
class SandboxFaults:
    """Which share of the keys (0 to 1) meets which fault; a key meets one at most.

    Declines strike authorizations only, the others every kind of call.
    """

    timeout_after: float = 0.02
    timeout_before: float = 0.0
    decline: float = 0.02
    error_500: float = 0.0
    rate_limited: float = 0.0
    slow: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        rates = [rate for rate, _ in self._table()]
        if min(rates) < 0 or math.fsum(rates) > 1:
            raise ConfigurationError(
                f"the sandbox's fault rates {rates} must not be negative nor add up to more than 1"
            )

    def fault_of(self, call: Call) -> Fault | None:
        """The fault that `call` meets: the same for the same seed and key, on any machine."""
        digest = hashlib.blake2b(f"{self.seed}:{call.key}".encode(), digest_size=8).digest()
        drawn = int.from_bytes(digest) / 2**64
        for rate, fault in self._table():
            if drawn < rate:
                return None if fault.decline and call.kind != "authorize" else fault
            drawn -= rate
        return None

    def _table(self) -> tuple[tuple[float, Fault], ...]:
        return (
            (self.timeout_after, TIMEOUT_AFTER),
            (self.timeout_before, TIMEOUT_BEFORE),
            (self.decline, TOKENS["pm_card_declined"]),
            (self.error_500, ERROR_500),
            (self.rate_limited, RATE_LIMITED),
            (self.slow, SLOW),
        )


class SandboxGateway:
    """The sandbox as a `Gateway`.

    `book` is a file that any number of processes and threads of one host share, or None for a
    book in this process. `faults` is None for none but those that payment methods ask for.
    """

    name = "sandbox"

    def __init__(self, book: str | Path | None, faults: SandboxFaults | None = None) -> None:
        self._book: Book = MemoryBook() if book is None else FileBook(Path(book))
        self._faults = faults

    def perform(self, call: Call) -> Answer:
        """As in `Gateway`; raises RuntimeError for the token that stands for a defect."""
        try:
            fault = self._fault_of(call)
            if fault is None:
                return self._answer(call)
            return self._answer_with(fault, call)
        except sqlite3.OperationalError as error:
            return Unknown(f"the sandbox's book can't be used: {error}")

    def find(self, call: Call) -> Succeeded | None | Unknown:
        try:
            record = self._book.find(call.key)
        except sqlite3.OperationalError as error:
            return Unknown(f"the sandbox's book can't be used: {error}")
        return None if record is None or record.decline else Succeeded(reference(call.key))

    def book(self) -> Iterator[BookEntry]:
        return self._book.entries()

    def _fault_of(self, call: Call) -> Fault | None:
        """The fault its method or the rates ask for, None if there is none or it has worn off."""
        asked = call.method if call.kind == "authorize" else None
        fault = TOKENS.get(asked) if asked else None
        if fault is None and self._faults is not None:
            fault = self._faults.fault_of(call)
        if fault is None or fault.times is None:
            return fault
        return fault if self._book.count_attempt(call.key) <= fault.times else None

    def _answer_with(self, fault: Fault, call: Call) -> Answer:
        if fault.crash:
            raise RuntimeError(f"the sandbox was asked to crash by {call.method}")
        time.sleep(fault.delay)
        if fault.instead is not None:
            return fault.instead
        answer = self._answer(call, fault.decline)
        return answer if fault.after is None else fault.after

    def _answer(self, call: Call, decline: str | None = None) -> Answer:
        """Record `call`, or read what was recorded under its key before, and say so."""
        record = self._book.record(call, decline)
        if record.asks != asks_of(call):
            return Declined("idempotency_key_reused")
        return Declined(record.decline) if record.decline else Succeeded(reference(call.key))
