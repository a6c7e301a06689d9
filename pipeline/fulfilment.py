"""Shipping orders, and taking back what was shipped. docs/fulfilment.md is the specification.

All under the locks of the orders and then of the levels, in the transaction that is given: units,
ledger, timeline, what the customer is told and the money that is asked for, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import operations, typed
from pipeline.cards import holds_card_number, mask_card_numbers, shape
from pipeline.errors import InvalidInput, NotAllowedNow
from pipeline.event_kind import EventKind
from pipeline.inventory.allocation import Allotment
from pipeline.inventory.shipping import Promised, Refused, Return, Shipment, refused_return
from pipeline.notifications import outbox
from pipeline.notifications.message import SHIPPED
from pipeline.order import Status
from pipeline.payments import captures, tasks
from pipeline.payments.account import Operation, fold
from pipeline.storage import fulfilment, notifications, orders, payments, stock
from pipeline.storage.database import Tx
from pipeline.storage.orders import Note

#: Of a reference, a carrier, a tracking number.
MOST_SIGNS = 64


@dataclass(frozen=True, slots=True)
class Shipped:
    """It has left: these units; `capture` was asked for with it, to be done by `TaskRunner.run`."""

    shipment: Shipment
    units: tuple[Allotment, ...]
    capture: Operation | None = None


class NotFulfilled(InvalidInput):
    """Why an order isn't shipped, or units are not taken back: `refused` names the field."""

    def __init__(self, order_id: int, refused: Refused) -> None:
        super().__init__(f"order {order_id}: {refused}")
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Reused(Refused):
    """The reference is that of something else, for ever."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same had been done under its reference; nothing changed."""


Verdict = Shipped | Duplicate | Refused


def ship_one(tx: Tx, shipment: Shipment, actor: str) -> Shipped | Duplicate:
    """As `ship`; NotFulfilled says why not, UnknownOrder and NotAllowedNow if it is the order."""
    row = orders.lock(tx, shipment.order_id)
    if row.status != Status.CONFIRMED:
        raise NotAllowedNow(row.id, row.status, "shipped")
    [verdict] = ship(tx, [shipment], actor)
    if isinstance(verdict, Refused):
        raise NotFulfilled(shipment.order_id, verdict)
    return verdict


def ship(tx: Tx, shipments: Sequence[Shipment], actor: str) -> list[Verdict]:
    """Ship what can be shipped: one verdict each, in the order given, in which they are decided."""
    desk = _Desk.opened(tx, shipments)
    verdicts = [desk.decide(shipment) for shipment in shipments]
    shipped = [verdict for verdict in verdicts if isinstance(verdict, Shipped)]
    if shipped:
        _write(tx, shipped, actor)
    return verdicts


@dataclass(frozen=True, slots=True)
class _Desk:
    """What is known of the orders of a batch, under their locks; changed by what is decided."""

    rows: Mapping[int, Any]
    known: dict[tuple[int, str], str]
    promised: Promised
    written: Mapping[int, Sequence[Operation]]
    unpaid: Mapping[int, int]
    captured: set[int]

    @classmethod
    def opened(cls, tx: Tx, shipments: Sequence[Shipment]) -> _Desk:
        rows = orders.lock_all(tx, {shipment.order_id for shipment in shipments})
        return cls(
            rows,
            fulfilment.shipped_as(tx, rows),
            Promised(fulfilment.held(tx, rows)),
            payments.read(tx, rows),
            fulfilment.unpaid(tx, rows),
            set(),
        )

    def decide(self, shipment: Shipment) -> Verdict:
        if unfit := _unfit(shipment):
            return unfit
        row, name = self.rows.get(shipment.order_id), (shipment.order_id, shipment.reference)
        if row is None:
            return Refused("order", str(shipment.order_id), "an order there is")
        if (known := self.known.get(name)) is not None:
            if known == shipment.digest:
                return Duplicate()
            return Reused(
                "reference", shipment.reference, "one under which nothing else was shipped"
            )
        if row.status != Status.CONFIRMED:
            return Refused("order", f"one that is {row.status}", "a confirmed one")
        if fold(self.written[row.id]).disputed:
            return Refused("order", "one whose payment is disputed", "one that is paid")
        try:
            capture = self._capture(shipment)
        except InvalidInput as error:
            return Refused("capture", "asked for", f"a capture that can be made ({error})")
        taken = self.promised.take(shipment)
        if isinstance(taken, Refused):
            return taken
        self.known[name] = shipment.digest
        if capture:
            self.captured.add(row.id)
        return Shipped(shipment, tuple(taken), capture)

    def _capture(self, shipment: Shipment) -> Operation | None:
        """What is due, if it is wanted and nobody has asked for it yet."""
        order_id = shipment.order_id
        written = self.written[order_id]
        if (
            not shipment.capture
            or order_id in self.captured
            or captures.is_asked_for(fold(written))
        ):
            return None
        unpaid = self.unpaid.get(order_id, 0)
        if captures.due(fold(written), unpaid) == 0:
            return None
        return captures.wanted(order_id, written, unpaid)


def _unfit(shipment: Shipment) -> Refused | None:
    """What can't be kept. References and tracking numbers may look like a card's: one in ten of
    some forms does."""
    of = shipment
    checked = {"location": of.location, "carrier": of.carrier}
    ids = {"reference": of.reference, "tracking": of.tracking}
    for field, value in {**ids, **checked}.items():
        if value is None:
            continue
        if not 0 < len(value) <= MOST_SIGNS or not value.isprintable():
            return Refused(field, ascii(value[:80]), f"1 to {MOST_SIGNS} printable characters")
        if field in checked and holds_card_number(value):
            return Refused(field, mask_card_numbers(value, shape), "no payment card number")
    return None


def _write(tx: Tx, shipped: Sequence[Shipped], actor: str) -> None:
    tasks.request(tx, [each.capture for each in shipped if each.capture], actor)
    fulfilment.take_off(tx, [unit for each in shipped for unit in each.units], actor)
    made = fulfilment.add_shipments(tx, [(each.shipment, each.units) for each in shipped], actor)
    orders.note(tx, [_note(each) for each in shipped], actor)
    loaded = orders.load(tx, {each.shipment.order_id for each in shipped})
    known = {one.order.id: one.order for one in loaded}
    told = [
        letter
        for each, number in zip(shipped, made, strict=True)
        for letter in outbox.wanted(known[each.shipment.order_id], SHIPPED, str(number))
    ]
    notifications.add(tx, told, lead=0.0)


def _note(shipped: Shipped) -> Note:
    of = shipped.shipment
    lines: dict[int, int] = {}
    for unit in shipped.units:
        lines[unit.line_no] = lines.get(unit.line_no, 0) + unit.quantity
    said = {"reference": of.reference, "carrier": of.carrier, "tracking": of.tracking}
    return Note(
        of.order_id,
        EventKind.SHIPPED,
        None,
        {"lines": lines, **{k: v for k, v in said.items() if v}},
    )


@dataclass(frozen=True, slots=True)
class Returned:
    """It came back; `refund` was asked for with it, to be done by `TaskRunner.run`."""

    refund: Operation | None = None


def take_back(tx: Tx, back: Return, actor: str, *, refund: bool = False) -> Returned | Duplicate:
    """Take back units that were shipped, and with `refund` ask for what was paid for them. Units that
    are put into stock are had by those who wait for them, in this transaction.

    InvalidInput says why not: then nothing may be committed.
    """
    row = orders.lock(tx, back.order_id)
    typed.name("reference", back.reference, 64)
    typed.text("reason", back.reason, 64)
    typed.text("location", back.location, 32)
    known = fulfilment.returned_as(tx, row.id).get((row.id, back.reference))
    if known == back.digest:
        return Duplicate()
    if known is not None:
        expected = "one under which nothing else came back"
        raise NotFulfilled(row.id, Reused("reference", back.reference, expected))
    if row.status != Status.CONFIRMED:
        raise NotAllowedNow(row.id, row.status, "returned")
    outside = fulfilment.outside(tx, row.id)
    if refused := refused_return(back, {n: units for n, (_, units) in outside.items()}):
        raise NotFulfilled(row.id, refused)
    skus = {n: sku for n, (sku, _) in outside.items()}
    detail = {"reference": back.reference, "lines": back.lines, "location": back.location}
    orders.note(tx, [Note(row.id, EventKind.RETURNED, back.reason, detail)], actor)
    operation = None
    if refund:
        operation = operations.refund(tx, row.id, actor, lines=back.lines, reason=back.reason)
    fulfilment.add_return(tx, back, skus, actor)
    _restock(tx, back, skus, actor)
    return Returned(operation)


def _restock(tx: Tx, back: Return, skus: Mapping[int, str], actor: str) -> None:
    """By the same door as what arrives."""
    if back.location is not None:
        units = [
            fulfilment.movement("return", skus[n], back.location, units, back.order_id)
            for n, units in sorted(back.lines.items())
        ]
        stock.post(tx, units, actor)  # more units: no level can refuse
