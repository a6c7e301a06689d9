"""Events from gateways: verified, kept once, and then taken as a hint to read the payment.

Whatever an event says, what counts is the payment as the gateway has it when we read it. So an
event may come twice, late, out of order, before our own commit, or never: the gateways' own lists
are read too.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from pipeline import part_cancel
from pipeline.errors import GatewayAway, UnknownGateway
from pipeline.event_kind import EventKind
from pipeline.notifications import outbox
from pipeline.operations import Announcements, hasten
from pipeline.order import SETTLED, Lane, Status
from pipeline.payments import late_money, tasks
from pipeline.payments.account import Account, Operation, fold, has_bounced, is_foreign
from pipeline.payments.callers import Callers
from pipeline.payments.gateway import Gateway, GatewayEvent, Payment, Unknown
from pipeline.payments.observed import authorization_of, observed
from pipeline.storage import clock, gateway_events, orders, payments
from pipeline.storage.database import Database, Tx
from pipeline.storage.gateway_events import Kept, Processed
from pipeline.storage.orders import Note

log = logging.getLogger(__name__)

PAGE = 500
#: Seconds after which a poll begins no further page. A backlog is worked off before more is fetched,
#: so that a flood of events takes half of every minute and not all.
TIME_LIMIT = 30.0
#: Lists are read again from so long before the last reading: what a gateway lists late is met.
OVERLAP = timedelta(minutes=5)
#: How far back the first reading of a gateway's list goes.
FIRST_LOOK = timedelta(days=1)

_KINDS = {
    ("refund", "succeeded"): EventKind.REFUNDED,
    ("refund", "failed"): EventKind.REFUND_FAILED,
    ("dispute", "pending"): EventKind.DISPUTED,
    ("dispute", "succeeded"): EventKind.DISPUTE_LOST,
    ("dispute", "failed"): EventKind.DISPUTE_WON,
}


@dataclass(slots=True)
class _Backlog:
    """How far a poll is with what is kept: how many were processed, the last that was looked at, and
    whether that was the last there is."""

    processed: int = 0
    last: Kept | None = None
    is_worked_off: bool = False


class GatewayEvents:
    """`announce` is told of orders that were woken, after the commit."""

    def __init__(
        self, database: Database, callers: Callers, announce: Callable[[Announcements], None]
    ) -> None:
        self._database = database
        self._callers = callers
        self._announce = announce

    def receive(self, gateway: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Take one event in, as it was sent. Once this returns it is not lost: what can't be done
        about it now, `poll` does.

        Raises UnknownGateway, and InvalidEvent for one that is forged or too old.
        """
        found = self._callers.gateways.get(gateway)
        if found is None:
            raise UnknownGateway(gateway, sorted(self._callers.gateways))
        event = found.verify(payload, headers)
        if event is None:
            return
        with self._database.transaction() as tx:
            gateway_events.keep(tx, gateway, [event])
            kept = gateway_events.one_unprocessed(tx, gateway, event.id)
        self._process_apart(kept, Lane.INTERACTIVE)

    def poll(self) -> dict[str, int]:
        """Read what gateways list, and process all that is kept; how many were processed, and how
        many of the gateways could not be read."""
        by, backlog = time.monotonic() + TIME_LIMIT, _Backlog()
        self._work_off(backlog, by)
        away = 0
        if backlog.is_worked_off:
            away = sum(not self._fetch(*named) for named in self._callers.gateways.items())
            self._work_off(backlog, by)
        return {"processed": backlog.processed, "away": away}

    def _work_off(self, backlog: _Backlog, by: float) -> None:
        """Process what is kept, from where we are on: a page, and more while there is time."""
        backlog.is_worked_off = False
        while kept := self._unprocessed(backlog.last):
            backlog.processed += self._process_apart(kept, Lane.BULK)
            backlog.last = kept[-1]
            if time.monotonic() > by:
                return
        backlog.is_worked_off = True

    def _fetch(self, name: str, gateway: Gateway) -> bool:
        """Keep what the gateway lists since it was last read; False if it can't be read."""
        with self._database.transaction() as tx:
            began = clock.read(tx)
            since = gateway_events.read_until(tx, name) or began - FIRST_LOOK
        try:
            for page in _pages(gateway.events(since - OVERLAP)):
                with self._database.transaction() as tx:
                    gateway_events.keep(tx, name, page)
        except GatewayAway as error:
            log.warning("the events of %s could not be read: %s", name, error)
            return False
        with self._database.transaction() as tx:
            gateway_events.advance(tx, name, began)
        return True

    def _unprocessed(self, after: Kept | None) -> list[Kept]:
        with self._database.snapshot() as tx:
            return gateway_events.unprocessed(tx, PAGE, after)

    def _process_apart(self, kept: Sequence[Kept], lane: Lane) -> int:
        """Process them; a defect that shows on one must not keep the others."""
        try:
            return self._process(kept, lane) if kept else 0
        except Exception as error:  # an event that can't be processed stays; an outage is raised
            if self._database.is_disconnect(error):
                raise
            if len(kept) > 1:
                return sum(self._process_apart([one], lane) for one in kept)
            log.exception("event %s of %s can't be processed", kept[0].event_id, kept[0].gateway)
            return 0

    def _process(self, kept: Sequence[Kept], lane: Lane) -> int:
        of_gateway: dict[str, list[Kept]] = defaultdict(list)
        for one in kept:
            of_gateway[one.gateway].append(one)
        return sum(self._process_of(gateway, ones, lane) for gateway, ones in of_gateway.items())

    def _process_of(self, gateway: str, kept: Sequence[Kept], lane: Lane) -> int:
        references = list(dict.fromkeys(one.reference for one in kept))
        read = self._callers.each(partial(self._callers.read, gateway), references, lane)
        readings = {
            reference: payment
            for reference, payment in zip(references, read, strict=True)
            if not isinstance(payment, Unknown)  # the gateway is away: the next poll asks again
        }
        with self._database.transaction() as tx:
            learned = learn(tx, gateway, readings)
            done = [
                Processed(gateway, one.event_id, *learned.outcomes[one.reference])
                for one in kept
                if one.reference in readings
            ]
            gateway_events.processed(tx, done)
        self._announce(learned.announcements)
        return len(done)


@dataclass(frozen=True, slots=True)
class Learned:
    """By a payment's reference, the order it is of (None: none of ours) and what was made of it;
    and what to announce after the commit."""

    outcomes: dict[str, tuple[int | None, str]]
    announcements: Announcements


@dataclass(slots=True)
class _Seen:
    """An order whose payments were read: its row, locked, its operations with the news, and whether
    by the reading its customer must still act."""

    row: Any
    operations: list[Operation]
    news: list[Operation] = field(default_factory=list)
    waits: bool = True


def learn(tx: Tx, gateway: str, readings: Mapping[str, Payment | None]) -> Learned:
    """Write down what these payments, by reference, tell that we didn't know, and act on it. Any
    number of times, in any order, comes to the same."""
    read = [payment for payment in readings.values() if payment is not None]
    locked = orders.lock_all(tx, {p.order_id for p in read if p.order_id is not None})
    written = payments.read(tx, locked)
    known = {order_id: _Seen(row, written[order_id]) for order_id, row in locked.items()}
    order_of = {p.reference: _compare(gateway, p, known) for p in read}
    seen = {i: known[i] for i in order_of.values() if i is not None}
    made = {i: "observed" for i, one in seen.items() if one.news}
    actor = f"gateway:{gateway}"
    _write(tx, [row for one in seen.values() for row in one.news], actor)
    late = {i: (s.row, fold(s.operations)) for i, s in seen.items() if tasks.is_too_late(s.row)}
    settled = late_money.settle(tx, late, actor)
    made |= settled.outcomes | part_cancel.settle(tx, _captured(seen), actor)
    woken = hasten(tx, {i for i, one in seen.items() if _is_woken(one)})
    outcomes: dict[str, tuple[int | None, str]] = {}
    for reference in readings:
        order_id = order_of.get(reference)
        outcomes[reference] = (
            (None, "not_ours")
            if order_id is None
            else (order_id, made.get(order_id, "nothing_new"))
        )
    return Learned(outcomes, settled.announcements + woken)


def _compare(gateway: str, payment: Payment, known: Mapping[int, _Seen]) -> int | None:
    """Note what `payment` tells of its order; the order's id, None if it is none of ours."""
    one = known.get(payment.order_id or 0)
    authorization = authorization_of(one.operations, payment) if one else None
    if one is None or authorization is None or authorization.gateway != gateway:
        return None  # another shop's, on the same account with the gateway
    news = observed(one.operations, authorization, payment)
    one.news += news
    one.operations += news
    one.waits = payment.status == "requires_action"
    return authorization.order_id


def _write(tx: Tx, news: Sequence[Operation], actor: str) -> None:
    payments.add(tx, news)
    told = tasks.conclude(tx, news, actor)
    others = [op for op in news if (op.order_id, op.key) not in told]
    made_of = tasks.splits(tx, others)
    orders.note(tx, [_note(op, made_of) for op in others], actor)
    # The customer was told that he gets his money, and nobody waits for this to fail.
    bounced = sorted({op.order_id for op in news if has_bounced(op)})
    outbox.page(tx, bounced, outbox.REFUND_FAILED)


def _note(op: Operation, made_of: tasks.Splits) -> Note:
    detail = tasks.told(op, made_of)
    if not is_foreign(op):
        detail |= {"operation": op.kind, "state": op.state}
    return Note(
        op.order_id, _KINDS.get((op.kind, op.state), EventKind.PAYMENT_OBSERVED), None, detail
    )


def _captured(seen: Mapping[int, _Seen]) -> dict[int, Account]:
    """The accounts of confirmed orders of which we did not know that they are captured."""
    return {
        i: fold(one.operations)
        for i, one in seen.items()
        if one.row.status == Status.CONFIRMED
        and any((op.kind, op.state) == ("capture", "succeeded") for op in one.news)
    }


def _is_woken(one: _Seen) -> bool:
    """Its step waits for just this."""
    return one.row.stage in ("pay", "undo_pay") and one.row.status not in SETTLED and not one.waits


def _pages(events: Iterable[GatewayEvent]) -> Iterator[list[GatewayEvent]]:
    stream = iter(events)
    while page := list(islice(stream, PAGE)):
        yield page
