"""An order: its status, the one table of legal moves, and what a stage sees of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pipeline.source import Source


class Status(StrEnum):
    """Where an order is. *Why* it is there is the order's reason, a column of its own."""

    RECEIVED = "received"
    VALIDATED = "validated"
    PRICED = "priced"
    PAID = "paid"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    BACKORDERED = "backordered"
    ON_HOLD = "on_hold"
    CANCELLING = "cancelling"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


_S = Status

#: Every legal move, for all chains. `rejected` is refused before anything was done for it;
#: `cancelled` had its effects undone first. An order leaves `on_hold` only by a person's hand,
#: to where it was held; and `cancelled` only by the late money of one that had expired unpaid.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    _S.RECEIVED: frozenset({_S.VALIDATED, _S.REJECTED, _S.ON_HOLD, _S.CANCELLED}),
    _S.VALIDATED: frozenset({_S.PRICED, _S.REJECTED, _S.ON_HOLD, _S.CANCELLED}),
    _S.PRICED: frozenset(
        {_S.PAID, _S.RESERVED, _S.BACKORDERED, _S.REJECTED, _S.ON_HOLD, _S.CANCELLING}
    ),
    _S.PAID: frozenset({_S.RESERVED, _S.CONFIRMED, _S.BACKORDERED, _S.ON_HOLD, _S.CANCELLING}),
    _S.BACKORDERED: frozenset({_S.RESERVED, _S.REJECTED, _S.ON_HOLD, _S.CANCELLING}),
    _S.RESERVED: frozenset({_S.PAID, _S.CONFIRMED, _S.ON_HOLD, _S.CANCELLING}),
    _S.CONFIRMED: frozenset({_S.CANCELLING}),
    _S.ON_HOLD: frozenset(
        {
            _S.RECEIVED, _S.VALIDATED, _S.PRICED, _S.PAID, _S.RESERVED, _S.BACKORDERED,
            _S.CANCELLING, _S.CANCELLED,
        }
    ),
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.ON_HOLD}),
    _S.REJECTED: frozenset(),
    _S.CANCELLED: frozenset({_S.PRICED}),
}  # fmt: skip

#: The engine has nothing more to do for these: they are in no dispatch. `on_hold` waits for a
#: person, the others are over.
SETTLED = frozenset({_S.CONFIRMED, _S.REJECTED, _S.CANCELLED, _S.ON_HOLD})

#: Nothing moves these any more but a person, late money or a dispute.
ENDED = SETTLED - {Status.ON_HOLD}

#: These hold neither goods nor money.
OVER = frozenset({Status.REJECTED, Status.CANCELLED})


def is_legal(source: Status, target: Status) -> bool:
    """Whether an order may move from `source` to `target`; staying where it is is no move."""
    return target in TRANSITIONS[source]


class Lane(StrEnum):
    """Who goes first: a shopper who waits, then the import of a million."""

    INTERACTIVE = "interactive"
    BULK = "bulk"

    @property
    def rank(self) -> int:
        """Sorts lanes in the database: the lower goes first."""
        return 0 if self is Lane.INTERACTIVE else 1


@dataclass(frozen=True, slots=True)
class Line:
    """What was asked for: units of one SKU; `unit_price` (minor units) only as a marketplace sold it."""

    sku: str
    quantity: int
    unit_price: int | None = None


#: Of nearly all orders nothing was ever decided.
UNDECIDED: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class Order:
    """One order as a stage sees it: what was sent, where it is, how often this stage was tried."""

    id: int
    external_id: str
    source: Source
    chain: str
    lane: Lane
    status: Status
    stage: str
    reason: str | None
    currency: str
    approved: bool
    attempt: int
    accepted_at: datetime
    document: dict[str, Any] = field(repr=False)
    traceparent: str | None = field(default=None, repr=False)  # W3C Trace Context
    #: What a person decided about it on hold, by kind of decision (pipeline.decisions).
    decided: Mapping[str, Any] = field(default_factory=lambda: UNDECIDED, repr=False)
    #: What was found out about its VAT id (pipeline.vat.check.VatCheck); None: nobody was asked.
    vat_check: Mapping[str, Any] | None = field(default=None, repr=False)
    _lines: list[Line] | None = field(default=None, repr=False, compare=False)
    #: Why it waits at this stage, and how often it was looked at for that (pipeline.engine.record).
    cause: str | None = None
    looks: int = 0

    @property
    def lines(self) -> list[Line]:
        """The lines with those that share a SKU (and a price) merged, in order of first appearance."""
        if self._lines is None:
            self._lines = self._merged()
        return self._lines

    def at(self, status: Status, stage: str, attempt: int) -> Order:
        """The same order further on. (Spelled out: dataclasses.replace is four times slower, and
        every order passes here at every stage.)"""
        return Order(
            self.id, self.external_id, self.source, self.chain, self.lane, status, stage,
            self.reason, self.currency, self.approved, attempt, self.accepted_at, self.document,
            self.traceparent, self.decided, self.vat_check, self._lines,
        )  # fmt: skip

    def _merged(self) -> list[Line]:
        merged: dict[tuple[str, int | None], int] = {}
        for line in self.document["lines"]:
            key = (line["sku"], line.get("unit_price"))
            merged[key] = merged.get(key, 0) + line["quantity"]
        return [Line(sku, quantity, price) for (sku, price), quantity in merged.items()]

    @property
    def ship_to(self) -> Mapping[str, Any]:
        """The address that it goes to: as sent, with what a person has corrected."""
        sent: Mapping[str, Any] = self.document["ship_to"]
        return corrected(sent, self.decided) if self.decided else sent

    @property
    def moment(self) -> datetime:
        """When it was placed, as far as it says so, or else accepted: its price is that of then."""
        placed_at = self.document.get("placed_at")
        if placed_at is None:
            return self.accepted_at
        return min(datetime.fromisoformat(placed_at), self.accepted_at)

    @property
    def total_shown(self) -> int | None:
        """The total that it states, in minor units."""
        shown = self.document.get("total")
        return None if shown is None else int(shown)

    @property
    def country(self) -> str:
        """Where it goes: ISO 3166-1 alpha-2."""
        return str(self.ship_to["country"])

    @property
    def email(self) -> str | None:
        email = self.document["customer"].get("email")
        return None if email is None else str(email)

    @property
    def customer(self) -> str | None:
        """Who orders, by `customer_key`."""
        return customer_key(self.source.name, self.document["customer"])

    @property
    def lookup_keys(self) -> tuple[str | None, str | None]:
        """Who orders, by both keys that they may be known by: as `lookup_keys`."""
        return lookup_keys(self.source.name, self.document["customer"])

    @property
    def coupons(self) -> list[str]:
        """The codes that were given, as they were written."""
        return list(self.document.get("coupons", ()))

    @property
    def payment_method(self) -> str | None:
        payment = self.document.get("payment")
        return None if payment is None else str(payment["method"])


def corrected(address: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
    """An address as sent, with what was decided of it: fields replaced or, by null, taken away."""
    told = {**address, **decided.get("ship_to", {})}
    return {name: value for name, value in told.items() if value is not None}


def customer_key(source: str, customer: Mapping[str, Any]) -> str | None:
    """Names a customer without saying who it is: a hash of the source and the id that it knows
    the customer by, or else of the e-mail, which is the same everywhere. None if neither is told."""
    if customer.get("id") is not None:
        return _key(f"id\0{source}\0{customer['id']}")
    email = customer.get("email")
    return None if email is None else email_key(email)


def email_key(email: str) -> str:
    """Names whoever has this address, in large or small letters, without saying it."""
    return _key(f"email\0{email.lower()}")


def lookup_keys(source: str, customer: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What a customer's orders are found by: the `customer_key`, and the e-mail's if it is another."""
    key, email = customer_key(source, customer), customer.get("email")
    if email is None or customer.get("id") is None:
        return key, None
    return key, email_key(email)


def _key(told: str) -> str:
    return hashlib.sha256(told.encode()).hexdigest()[:32]
