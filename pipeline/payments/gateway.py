"""What a payment gateway must do for us. One conformance suite in the tests holds all gateways to it.

Every call carries an idempotency key that was persisted before the call. The authorization's key
is also sent as our *reference*, along with the order's id, so that what a lost answer left behind
can be found again, whatever the life of the gateway's memory for keys. A capture and a void are
named after their authorization (`capture_key`, `void_key`): the gateway's own list can be matched
to ours without its help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from pipeline.errors import InvalidInput
from pipeline.redaction import redact_start

Kind = Literal["authorize", "capture", "void", "refund", "dispute"]


def capture_key(authorization: str) -> str:
    return f"{authorization}.capture"


def void_key(authorization: str) -> str:
    return f"{authorization}.void"


#: Characters of a gateway's own words that are kept.
MOST_TOLD = 500


@dataclass(frozen=True, slots=True)
class Call:
    """One operation asked of the gateway. `amount` in minor units; `asked_at` is when its key was
    persisted: it can't have happened before.

    `key` names this operation for ever; `parent` is the gateway's own reference of the
    authorization that a capture, void or refund is about (None for authorize).
    """

    kind: Kind
    key: str
    amount: int
    currency: str
    method: str | None = None
    parent: str | None = None
    order_id: int | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It happened. `reference` is the gateway's name for it."""

    reference: str


@dataclass(frozen=True, slots=True)
class RequiresAction:
    """The customer must act first (3-D Secure, a bank transfer). Authorizations only."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """It will not happen with this method: final. `code` is the gateway's word for why.

    A void of what is captured is declined as `already_captured`, a capture of what is voided as
    `already_voided`, on every gateway."""

    code: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", redact_start(self.code, MOST_TOLD))


#: Under the key another amount was booked. This database knows of no such payment: a failover lost
#: the order that it was for.
KEY_TAKEN = Declined("idempotency_key_reused")


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway calls the request itself invalid: nothing was done, and the customer's method is not
    why. Of authorizations and captures only; what gives money back is then declined. `code` is the
    gateway's word for what is wrong."""

    code: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", redact_start(self.code, MOST_TOLD))


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or none to be trusted (time-out, 5xx): it may have happened. Ask, never assume."""

    cause: str

    def __post_init__(self) -> None:  # often an error's own words, and it is logged and kept
        object.__setattr__(self, "cause", redact_start(self.cause, MOST_TOLD))


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Certainly not done, and not this order's fault (429, connection refused): try later."""

    cause: str
    retry_after: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cause", redact_start(self.cause, MOST_TOLD))


Answer = Succeeded | RequiresAction | Declined | Refused | Unknown | Unavailable


@dataclass(frozen=True, slots=True)
class BookEntry:
    """One line of the gateway's own list: what it believes happened.

    `key` is ours where it is an operation of ours, else the gateway's reference. `parent` is the
    reference of the authorization it is about (its own, for an authorization). `fee` in minor
    units of `currency`, where the gateway tells it. A dispute is listed once it is lost, `at` the
    time it was opened.
    """

    kind: Kind
    key: str
    reference: str
    amount: int
    currency: str
    parent: str | None = None
    at: datetime | None = None
    fee: int | None = None


@dataclass(frozen=True, slots=True)
class Reversal:
    """A refund or a dispute of a payment. `key` is ours if we asked for it."""

    kind: Literal["refund", "dispute"]
    reference: str
    key: str | None
    amount: int
    state: Literal["open", "succeeded", "failed"]  # a dispute succeeds when the money is taken back


@dataclass(frozen=True, slots=True)
class Payment:
    """One authorization and all that became of it, as the gateway has it now.

    `action_url` is where the customer must go while it `requires_action`; never stored or logged.
    """

    reference: str
    key: str | None
    order_id: int | None
    status: Literal["requires_action", "authorized", "captured", "voided", "failed"]
    amount: int
    currency: str
    captured: int
    reversals: tuple[Reversal, ...] = ()
    action_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class GatewayEvent:
    """Something happened to the payment `reference`. A hint to read it; its `id` is kept once."""

    id: str
    type: str
    reference: str


class InvalidEvent(InvalidInput):
    """Forged, too old, or not an event of this gateway: refused, nothing was changed."""


class Gateway(Protocol):
    name: str

    def perform(self, call: Call) -> Answer:
        """Do it, or repeat the answer already given for this key. Never raises for a failure."""

    def find(self, call: Call) -> Answer | None:
        """What became of `call`, looked up by our reference; None: it never happened."""

    def read(self, reference: str) -> Payment | None | Unknown:
        """The payment as it is now; None if there is none of that reference."""

    def book(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BookEntry]:
        """The gateway's own list of what happened in [since, until), or ever, oldest first.

        Raises GatewayAway where the list can't be read to its end: half a list is none.
        """

    def verify(self, payload: bytes, headers: Mapping[str, str]) -> GatewayEvent | None:
        """The event in a signed message; None for one that concerns no payment. InvalidEvent."""

    def events(self, since: datetime) -> Iterator[GatewayEvent]:
        """Its events since then, for those that never came. Raises GatewayAway."""
