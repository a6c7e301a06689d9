"""Every cent of a quote is on one of its lines."""

from sqlalchemy import case, func, or_, select

from pipeline.audit.parts import count, past, units
from pipeline.audit.rule import Rule
from pipeline.storage.tables import order_lines, orders, quotes

_lines = (
    select(
        order_lines.c.order_id,
        func.sum(order_lines.c.net).label("net"),
        func.sum(order_lines.c.tax).label("tax"),
        func.sum(order_lines.c.gross).label("gross"),
        units(1, order_lines.c.net + order_lines.c.tax != order_lines.c.gross).label("crooked"),
    )
    .group_by(order_lines.c.order_id)
    .subquery("lines")
)
_fault = case(
    (quotes.c.order_id.is_(None), "has no quote"),
    (_lines.c.order_id.is_(None), "has a quote without lines"),
    (_lines.c.crooked > 0, "has a line whose net and tax don't sum to its gross"),
    (
        or_(
            quotes.c.total != _lines.c.gross,
            quotes.c.net != _lines.c.net,
            quotes.c.tax != _lines.c.tax,
        ),
        "is not what its lines sum to",
    ),
)
_told = (
    select(orders.c.id.label("order_id"), quotes.c.total, _lines.c.gross, _fault.label("fault"))
    .outerjoin(quotes, quotes.c.order_id == orders.c.id)
    .outerjoin(_lines, _lines.c.order_id == orders.c.id)
    .where(or_(past("price"), quotes.c.order_id.is_not(None)))
    .subquery()
)

RULE = Rule(
    name="quote_adds_up",
    sentence="Every priced order has a quote, and its lines sum to it, to the minor unit.",
    checked=count(quotes),
    broken=select(_told).where(_told.c.fault.is_not(None)),
    what="order {order_id} {fault}: total {total}, lines {gross}",
)
