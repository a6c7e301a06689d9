"""An order's timeline tells all that happened to it, in steps that the transition table allows."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Subquery, and_, case, func, select
from sqlalchemy.sql.functions import FunctionElement

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.order import TRANSITIONS
from pipeline.storage.tables import events, orders

_LEGAL = sorted(f"{source}>{target}" for source in TRANSITIONS for target in TRANSITIONS[source])


def faults(events: FromClause, orders: FromClause) -> Subquery:
    """Each event (order_id, seq, from_status, to_status) with its order's status and version, and
    what is wrong with it (`fault`, null if nothing is). `orders` have id, status and version."""

    def in_turn(function: FunctionElement[Any]) -> ColumnElement[Any]:
        """One window for all: the databases sort, or walk the key, once."""
        return function.over(partition_by=events.c.order_id, order_by=events.c.seq)

    event = select(
        events.c.order_id,
        events.c.seq,
        events.c.from_status,
        events.c.to_status,
        in_turn(func.row_number()).label("place"),
        in_turn(func.lag(events.c.to_status)).label("before"),
        in_turn(func.lead(events.c.seq)).label("next"),
    ).subquery("event")
    is_illegal = and_(
        event.c.from_status != event.c.to_status,
        (event.c.from_status + ">" + event.c.to_status).not_in(_LEGAL),
    )
    is_last = event.c.next.is_(None)
    fault = case(
        (event.c.seq != event.c.place, "comes after a gap"),
        (
            event.c.from_status.is_distinct_from(event.c.before),
            "doesn't begin where the last ended",
        ),
        (is_illegal, "is no legal move"),
        (and_(is_last, event.c.to_status.is_distinct_from(orders.c.status)), "isn't where it is"),
        (and_(is_last, event.c.seq != orders.c.version), "isn't the last by the row's version"),
    )
    return (
        select(
            event.c.order_id,
            event.c.seq,
            event.c.from_status,
            event.c.to_status,
            orders.c.status,
            orders.c.version,
            fault.label("fault"),
        )
        .join(orders, orders.c.id == event.c.order_id)
        .subquery()
    )


_told = faults(events, orders)

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
