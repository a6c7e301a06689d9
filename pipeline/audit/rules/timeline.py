"""An order's timeline tells all that happened to it, in steps that the transition table allows."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.sql.functions import FunctionElement

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.order import TRANSITIONS
from pipeline.storage.tables import events, orders

_LEGAL = sorted(f"{source}>{target}" for source in TRANSITIONS for target in TRANSITIONS[source])


def _in_turn(function: FunctionElement[Any]) -> ColumnElement[Any]:
    """One window for all: the databases sort, or walk the key, once."""
    return function.over(partition_by=events.c.order_id, order_by=events.c.seq)


_event = select(
    events.c.order_id,
    events.c.seq,
    events.c.from_status,
    events.c.to_status,
    _in_turn(func.row_number()).label("place"),
    _in_turn(func.lag(events.c.to_status)).label("before"),
    _in_turn(func.lead(events.c.seq)).label("next"),
).subquery("event")

_is_illegal = and_(
    _event.c.from_status != _event.c.to_status,
    (_event.c.from_status + ">" + _event.c.to_status).not_in(_LEGAL),
)
_is_last = _event.c.next.is_(None)
_fault = case(
    (_event.c.seq != _event.c.place, "comes after a gap"),
    (_event.c.from_status.is_distinct_from(_event.c.before), "doesn't begin where the last ended"),
    (_is_illegal, "is no legal move"),
    (and_(_is_last, _event.c.to_status.is_distinct_from(orders.c.status)), "isn't where it is"),
    (and_(_is_last, _event.c.seq != orders.c.version), "isn't the last by the row's version"),
)
_told = (
    select(
        _event.c.order_id,
        _event.c.seq,
        _event.c.from_status,
        _event.c.to_status,
        orders.c.status,
        orders.c.version,
        _fault.label("fault"),
    )
    .join(orders, orders.c.id == _event.c.order_id)
    .subquery()
)

RULE = Rule(
    name="timeline",
    sentence="The timeline folds to the order: legal moves, one after another, none missing.",
    checked=count(events),
    broken=select(_told).where(_told.c.fault.is_not(None)),
    what=(
        "event {seq} of order {order_id} (from {from_status} to {to_status}) {fault}; the order is "
        "{status}, at version {version}"
    ),
)
