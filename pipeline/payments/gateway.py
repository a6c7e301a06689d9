"""What a payment gateway must do for us. One conformance suite in the tests holds all gateways to it.

Every call carries an idempotency key that was persisted before the call. The key is also sent as
our *reference*, so that what a lost answer left behind can be found again, whatever the life of
the gateway's memory for keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["authorize", "capture", "void", "refund"]


@dataclass(frozen=True, slots=True)
class Call:
    """One operation asked of the gateway. `amount` in minor units.

    `key` names this operation for ever; `parent` is the gateway's own reference of the
    authorization that a capture, void or refund is about (None for authorize).
    """

    kind: Kind
    key: str
    amount: int
    currency: str
    method: str | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It happened. `reference` is the gateway's name for it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """It will not happen with this method: final. `code` is the gateway's word for why."""

    code: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or none to be trusted (time-out, 5xx): it may have happened. Ask, never assume."""

    cause: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Certainly not done, and not this order's fault (429, connection refused): try later."""

    cause: str
    retry_after: float | None = None


Answer = Succeeded | Declined | Unknown | Unavailable


@dataclass(frozen=True, slots=True)
class BookEntry:
    """One line of the gateway's own list, for the audit: what it believes happened."""

    kind: Kind
    key: str
    reference: str
    amount: int
    currency: str


class Gateway(Protocol):
    name: str

    def perform(self, call: Call) -> Answer:
        """Do it, or repeat the answer already given for this key. Never raises for a failure."""

    def find(self, call: Call) -> Succeeded | None | Unknown:
        """What became of `call`, looked up by our reference; None: it never happened."""

    def book(self) -> Iterator[BookEntry]:
        """The gateway's own list of all that happened, oldest first."""
