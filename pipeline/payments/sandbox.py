"""A gateway of our own for tests, demos and benchmarks: keeps a book, and fails on demand.

It is strict where real gateways are strict (idempotency keys, captures, refunds, voids), and its
faults are deterministic: by the payment method's token (`TOKENS`), or at rates that a seed and
the call's key decide (`SandboxFaults`), so that every run of a test fails in the same places.

What happens at real gateways without us has its method here: the customer confirms, someone at
the console refunds, a bank disputes, money comes late.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import secrets
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.errors import ConfigurationError, GatewayAway, InvalidInput
from pipeline.payments.gateway import (
    KEY_TAKEN,
    Answer,
    BookEntry,
    Call,
    Declined,
    GatewayEvent,
    InvalidEvent,
    Kind,
    Payment,
    Refused,
    RequiresAction,
    Reversal,
    Succeeded,
    Unavailable,
    Unknown,
    capture_key,
)
from pipeline.payments.sandbox_book import (
    Act,
    Book,
    FileBook,
    Line,
    MemoryBook,
    Standing,
    key_of,
    reference,
    stand,
)

SLOW_SECONDS = 2.0
RETRY_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a call, the first `times` times that its key is seen (None: always).

    `decline` is recorded as the key's answer, `action` as an authorization that waits for its
    customer. `instead` is said and nothing is done; `after` is said although it was done.
    """

    times: int | None = 1
    decline: str | None = None
    action: bool = False
    instead: Answer | None = None
    after: Answer | None = None
    delay: float = 0.0
    crash: bool = False


SLOW = Fault(times=None, delay=SLOW_SECONDS)
TIMEOUT_BEFORE = Fault(instead=Unknown("the sandbox timed out"))
TIMEOUT_AFTER = Fault(after=Unknown("the sandbox timed out"))
ERROR_500 = Fault(instead=Unknown("the sandbox answered 500"))
RATE_LIMITED = Fault(instead=Unavailable("the sandbox answered 429", RETRY_AFTER_SECONDS))

_NO_FAULT = Fault()

#: What `Call.method` of an authorization brings about; any other token is good.
TOKENS: dict[str, Fault] = {
    "pm_card_declined": Fault(times=None, decline="card_declined"),
    "pm_card_insufficient_funds": Fault(times=None, decline="insufficient_funds"),
    "pm_invalid": Fault(times=None, instead=Refused("parameter_invalid")),
    "pm_requires_action": Fault(times=None, action=True),
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
    `secret` (whsec_…) signs its events; without one, only this very gateway knows its own.
    """

    name = "sandbox"

    def __init__(
        self,
        book: str | Path | None,
        faults: SandboxFaults | None = None,
        secret: str | None = None,
    ) -> None:
        self._book: Book = MemoryBook() if book is None else FileBook(Path(book))
        self._faults = faults
        self._signer = Webhook(secret or base64.b64encode(secrets.token_bytes(32)).decode())

    def perform(self, call: Call) -> Answer:
        """As in `Gateway`; raises RuntimeError for the token that stands for a defect."""
        try:
            fault = self._fault_of(call)
            if fault is None:
                return self._answer(call)
            return self._answer_with(fault, call)
        except sqlite3.OperationalError as error:
            return Unknown(f"the sandbox's book can't be used: {error}")

    def find(self, call: Call) -> Answer | None:
        """As in `Gateway`. A declined authorization is found, a refused follow-up isn't."""
        try:
            line = self._book.find(call.key)
            if line is None or (line.decline and line.kind != "authorize"):
                return None
            if self._has_bounced(line):
                return Declined("refund_failed")
            return self._said(line, _line(call))
        except sqlite3.OperationalError as error:
            return Unknown(f"the sandbox's book can't be used: {error}")

    def read(self, reference: str) -> Payment | None | Unknown:
        try:
            line = self._book.find(key_of(reference) or "")
            if line is None or line.kind != "authorize":
                return None
            return _payment(line, self._book.about(reference))
        except sqlite3.OperationalError as error:
            return Unknown(f"the sandbox's book can't be used: {error}")

    def book(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BookEntry]:
        """As in `Gateway`. An authorization that waits is listed once it is confirmed, or paid late."""
        for line in self._lines(since, until):
            kind = _TOLD[line.kind].kind
            if kind is None or line.waits:
                continue
            if line.kind == "late_capture" and self._waited(line.parent):
                yield _entry(replace(line, kind="confirm"), "authorize")
            is_lost = kind != "dispute" or self._dispute_of(line).state == "succeeded"
            if is_lost and not self._has_bounced(line):
                yield _entry(line, kind)

    def events(self, since: datetime) -> Iterator[GatewayEvent]:
        """As in `Gateway`: every line of its book is one."""
        return map(_event, self._lines(since, None))

    def verify(self, payload: bytes, headers: Mapping[str, str]) -> GatewayEvent | None:
        try:
            told = self._signer.verify(payload, dict(headers))
            return GatewayEvent(str(told["id"]), str(told["type"]), str(told["reference"]))
        except (WebhookVerificationError, ValueError, KeyError, TypeError) as error:
            raise InvalidEvent(f"this is no event of the sandbox: {error}") from None

    def sign(self, event: GatewayEvent, at: datetime | None = None) -> tuple[bytes, dict[str, str]]:
        """The message that brings `event`, as sent `at` (now): its body and its headers."""
        sent = at or datetime.now(UTC)
        body = json.dumps(asdict(event))
        headers = {
            "webhook-id": event.id,
            "webhook-timestamp": str(int(sent.timestamp())),
            "webhook-signature": self._signer.sign(event.id, sent, body),
        }
        return body.encode(), headers

    # What happens at a gateway without us. InvalidInput where it can't happen.

    def confirm(self, reference: str) -> None:
        """The customer passes 3-D Secure: the waiting authorization stands."""
        self._act("confirm", reference)

    def fail(self, reference: str) -> None:
        """The customer fails 3-D Secure: the waiting authorization is declined."""
        self._act("fail", reference)

    def pay_late(self, reference: str) -> str:
        """The money of an authorization arrives although it was voided, as bank transfers do."""
        return self._act("late_capture", reference)

    def refund_at_gateway(self, reference: str, amount: int) -> str:
        """Someone at the gateway's console refunds; the refund's reference."""
        return self._act("console_refund", reference, amount)

    def bounce(self, refund: str) -> None:
        """The customer's bank sends a refund back, ours or the console's, by its reference."""
        line = self._book.find(key_of(refund) or "")
        if line is None or line.decline or _TOLD[line.kind].kind != "refund":
            raise InvalidInput(f"the sandbox has no refund {refund}")
        self._book.record(
            Line(
                _bouncing(line), "bounce", line.amount, line.currency, line.parent, line.order_id,
                at=_now(),
            )
        )  # fmt: skip

    def dispute(self, reference: str, amount: int) -> str:
        """The customer's bank disputes; the dispute's reference, for `close_dispute`."""
        return self._act("dispute", reference, amount)

    def close_dispute(self, reference: str, *, won: bool) -> None:
        """The dispute ends: `won` leaves the money with us, else it is taken back."""
        line = self._book.find(key_of(reference) or "")
        if line is None or line.kind != "dispute":
            raise InvalidInput(f"the sandbox has no dispute {reference}")
        kind: Act = "dispute_won" if won else "dispute_lost"
        closed = Line(
            _closing(line), kind, line.amount, line.currency, line.parent, line.order_id, at=_now()
        )
        if self._book.record(closed).kind != kind:
            raise InvalidInput(f"the dispute {reference} was closed before, the other way")

    def _act(self, kind: Act, authorization: str, amount: int | None = None) -> str:
        line = self._book.find(key_of(authorization) or "")
        if line is None or line.kind != "authorize":
            raise InvalidInput(f"the sandbox has no payment {authorization}")
        key = f"{kind}_{uuid.uuid4().hex}"
        amount = line.amount if amount is None else amount
        done = self._book.record(
            Line(key, kind, amount, line.currency, authorization, line.order_id, at=_now())
        )
        if done.decline:
            raise InvalidInput(f"{kind} of {authorization} can't be: {done.decline}")
        return reference(key)

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
        answer = self._answer(call, fault)
        return answer if fault.after is None else fault.after

    def _answer(self, call: Call, fault: Fault = _NO_FAULT) -> Answer:
        """Record `call`, or read what was recorded under its key before, and say so."""
        if call.kind == "dispute":
            return Declined("not_ours_to_ask")
        asked = _line(call, fault)
        return self._said(self._book.record(asked), asked)

    def _said(self, line: Line, asked: Line) -> Answer:
        """What is to be said, as things stand now, to who asks for what is recorded as `line`."""
        if line.asks != asked.asks:
            return KEY_TAKEN
        if line.decline:
            return Declined(line.decline)
        its = reference(line.key)
        if not line.waits:
            return Succeeded(its)
        now = stand(self._book.about(its))
        if now.confirmed:
            return Succeeded(its)
        if now.failed:
            return Declined("authentication_failed")
        return Declined("already_voided") if now.voided else RequiresAction(its)

    def _lines(self, since: datetime | None, until: datetime | None) -> Iterator[Line]:
        try:
            yield from self._book.lines(
                0 if since is None else _micros(since), None if until is None else _micros(until)
            )
        except sqlite3.OperationalError as error:
            raise GatewayAway(f"the sandbox's book can't be read: {error}") from error

    def _waited(self, authorization: str | None) -> bool:
        """Whether its customer was asked to act, and never did."""
        line = self._book.find(key_of(authorization) or "")
        about = self._book.about(authorization or "")
        return line is not None and line.waits and not stand(about).confirmed

    def _has_bounced(self, line: Line) -> bool:
        return _TOLD[line.kind].kind == "refund" and self._book.find(_bouncing(line)) is not None

    def _dispute_of(self, line: Line) -> Reversal:
        closed = self._book.find(_closing(line))
        return _dispute(line, closed.kind if closed else None)


def _line(call: Call, fault: Fault = _NO_FAULT) -> Line:
    return Line(
        call.key, call.kind, call.amount, call.currency, call.parent, call.order_id,
        fault.action, _now(), fault.decline,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Told:
    """How a line is told: what it is in the book (None: not listed), and its event's type."""

    kind: Kind | None
    event: str
    ours: bool = True


_TOLD: dict[Act, _Told] = {
    "authorize": _Told("authorize", "payment.created"),
    "confirm": _Told("authorize", "payment.authorized"),
    "fail": _Told(None, "payment.failed"),
    "capture": _Told("capture", "payment.captured"),
    "late_capture": _Told("capture", "payment.captured"),
    "void": _Told("void", "payment.voided"),
    "refund": _Told("refund", "payment.refunded"),
    "console_refund": _Told("refund", "payment.refunded", ours=False),
    "bounce": _Told(None, "refund.failed", ours=False),
    "dispute": _Told("dispute", "dispute.opened", ours=False),
    "dispute_won": _Told(None, "dispute.won", ours=False),
    "dispute_lost": _Told(None, "dispute.lost", ours=False),
}


def _event(line: Line) -> GatewayEvent:
    return GatewayEvent(
        f"evt_{line.key}", _TOLD[line.kind].event, line.parent or reference(line.key)
    )


def _entry(line: Line, kind: Kind) -> BookEntry:
    # What confirms an authorization is that authorization.
    its = line.parent if line.kind == "confirm" and line.parent else reference(line.key)
    key = (key_of(its) or its) if _TOLD[line.kind].ours else its
    if line.kind == "late_capture":  # as at any gateway: there is one capture of an authorization
        key = capture_key(key_of(line.parent) or "")
    return BookEntry(
        kind,
        key,
        its,
        line.amount,
        line.currency,
        line.parent or its,
        _EPOCH + timedelta(microseconds=line.at) if line.at else None,
        _fee(line.amount) if kind == "capture" else None,
    )


def _payment(line: Line, about: list[Line]) -> Payment:
    now = stand(about)
    its = reference(line.key)
    status = _status(line, now)
    closings = {done.key: done.kind for done in about}
    return Payment(
        its,
        line.key,
        line.order_id,
        status,
        line.amount,
        line.currency,
        now.captured,
        tuple(_reversals(about, closings)),
        f"https://sandbox.invalid/{its}" if status == "requires_action" else None,
    )


PaymentStatus = Literal["requires_action", "authorized", "captured", "voided", "failed"]


def _status(line: Line, now: Standing) -> PaymentStatus:
    if now.captured:
        return "captured"
    if now.voided:
        return "voided"
    if line.decline or now.failed:
        return "failed"
    return "requires_action" if line.waits and not now.confirmed else "authorized"


def _reversals(about: list[Line], closings: Mapping[str, Act]) -> Iterator[Reversal]:
    for line in about:
        if line.kind == "dispute":
            yield _dispute(line, closings.get(_closing(line)))
        elif _TOLD[line.kind].kind == "refund":
            key = line.key if _TOLD[line.kind].ours else None
            state: Literal["succeeded", "failed"] = (
                "failed" if _bouncing(line) in closings else "succeeded"
            )
            yield Reversal("refund", reference(line.key), key, line.amount, state)


def _dispute(line: Line, closed: Act | None) -> Reversal:
    state: Literal["open", "succeeded", "failed"] = "open"
    if closed is not None:
        state = "succeeded" if closed == "dispute_lost" else "failed"
    return Reversal("dispute", reference(line.key), None, line.amount, state)


def _closing(dispute: Line) -> str:
    """The key of the line that closes `dispute`: one for both ways, so that one is taken."""
    return f"{dispute.key}.closed"


def _bouncing(refund: Line) -> str:
    """The key of the line that says that `refund` came back."""
    return f"{refund.key}.bounced"


def _fee(amount: int) -> int:
    """What the sandbox keeps of a capture: a fixed part and 1.5 %."""
    return 25 + amount * 15 // 1_000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _now() -> int:
    return time.time_ns() // 1_000
