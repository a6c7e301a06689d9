"""What gateways told us: each event kept once by its id, until its payment was read and acted on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, or_, select, update

from pipeline.payments.gateway import GatewayEvent
from pipeline.storage.database import Tx
from pipeline.storage.sql import now, pack, rows
from pipeline.storage.tables import gateway_cursors, gateway_events
from pipeline.storage.upsert import InsertNew, insert_into

LONGEST_TYPE = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that is kept and yet to be processed."""

    gateway: str
    event_id: str
    reference: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Processed:
    """What an event came to. `order_id` is None where it is no order's of ours."""

    gateway: str
    event_id: str
    order_id: int | None
    outcome: str


_FIELDS = ["gateway", "event_id", "type", "reference"]
_given = rows(*(gateway_events.c[name] for name in _FIELDS))
_ADD = InsertNew(gateway_events, [*_FIELDS, "received_at"], select(*_given.c, now()))
_UNPROCESSED = (
    select(
        gateway_events.c.gateway, gateway_events.c.event_id, gateway_events.c.reference,
        gateway_events.c.received_at,
    )
    .where(gateway_events.c.processed_at.is_(None))
    .order_by(gateway_events.c.received_at, gateway_events.c.event_id)
    .limit(bindparam("most"))
)  # fmt: skip
_AFTER = _UNPROCESSED.where(
    or_(
        gateway_events.c.received_at > bindparam("at", type_=gateway_events.c.received_at.type),
        (gateway_events.c.received_at == bindparam("at", type_=gateway_events.c.received_at.type))
        & (gateway_events.c.event_id > bindparam("id")),
    )
)
_ONE = _UNPROCESSED.where(
    gateway_events.c.gateway == bindparam("of_gateway"),
    gateway_events.c.event_id == bindparam("id"),
)
_done = rows(
    gateway_events.c.gateway,
    gateway_events.c.event_id,
    gateway_events.c.order_id,
    gateway_events.c.outcome,
)
_PROCESSED = (
    update(gateway_events)
    .where(
        gateway_events.c.gateway == _done.c.gateway,
        gateway_events.c.event_id == _done.c.event_id,
        gateway_events.c.processed_at.is_(None),
    )
    .values(processed_at=now(), order_id=_done.c.order_id, outcome=_done.c.outcome)
)


def keep(tx: Tx, gateway: str, events: Iterable[GatewayEvent]) -> None:
    """Keep those that are not kept yet."""
    packed = [(gateway, e.id, e.type[:LONGEST_TYPE], e.reference) for e in events]
    if packed:
        _ADD(tx, {"rows": pack(packed)})


def unprocessed(tx: Tx, most: int, after: Kept | None = None) -> list[Kept]:
    """What is yet to be processed, oldest first; `after` one continues."""
    if after is None:
        found = tx.execute(_UNPROCESSED, {"most": most})
    else:
        found = tx.execute(_AFTER, {"most": most, "at": after.received_at, "id": after.event_id})
    return [Kept(*r) for r in found]


def one_unprocessed(tx: Tx, gateway: str, event_id: str) -> list[Kept]:
    """This event, if it is yet to be processed."""
    found = tx.execute(_ONE, {"of_gateway": gateway, "id": event_id, "most": 1})
    return [Kept(*r) for r in found]


def processed(tx: Tx, done: Sequence[Processed]) -> None:
    """Write what became of them. Twice is once."""
    if done:
        packed = pack((d.gateway, d.event_id, d.order_id, d.outcome) for d in done)
        tx.execute(_PROCESSED, {"rows": packed})


_CURSOR = select(gateway_cursors.c.read_until).where(
    gateway_cursors.c.gateway == bindparam("of_gateway")
)


def read_until(tx: Tx, gateway: str) -> datetime | None:
    """Until when this gateway's own list of events has been read; None if never."""
    return tx.execute(_CURSOR, {"of_gateway": gateway}).scalar_one_or_none()


def advance(tx: Tx, gateway: str, until: datetime) -> None:
    """The list has been read until then. Of two who read at once, the one that got further counts."""
    statement = insert_into(tx, gateway_cursors).values(gateway=gateway, read_until=until)
    further = statement.excluded.read_until
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["gateway"],
            set_={"read_until": further},
            where=gateway_cursors.c.read_until < further,
        )
    )
