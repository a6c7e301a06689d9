"""Every cent of a quote is on one of its lines, or on shipping."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from pipeline.audit.parts import count, past, units
from pipeline.audit.rule import Rule
from pipeline.storage.tables import order_lines, orders, quotes

#: As the quote's steps say it, in the one form in which they are written.
_is_exempt = quotes.c.steps.contains('"step":"exempt"')


def _is_off(amount: Any, net: Any, gross: Any) -> ColumnElement[bool]:
    """Whether what is asked for isn't the amount: with its tax if prices include tax, else without.
    Where they do, who is exempt pays less: the tax that was in it is taken off."""
    asked = case((quotes.c.includes_tax, gross), else_=net)
    taken_off = and_(quotes.c.includes_tax, gross < amount, _is_exempt)
    return and_(asked != amount, ~taken_off)


_amount = order_lines.c.unit_price * order_lines.c.quantity - order_lines.c.discount
_lines = (
    select(
        order_lines.c.order_id,
        func.sum(order_lines.c.net).label("net"),
        func.sum(order_lines.c.tax).label("tax"),
        func.sum(order_lines.c.gross).label("gross"),
        units(1, order_lines.c.net + order_lines.c.tax != order_lines.c.gross).label("crooked"),
        units(1, _is_off(_amount, order_lines.c.net, order_lines.c.gross)).label("off"),
    )
    .join(quotes, quotes.c.order_id == order_lines.c.order_id)
    .group_by(order_lines.c.order_id)
    .subquery("lines")
)
_shipping = quotes.c.shipping_net + quotes.c.shipping_tax
_fault = case(
    (quotes.c.order_id.is_(None), "has no quote"),
    (_lines.c.order_id.is_(None), "has a quote without lines"),
    (_lines.c.crooked > 0, "has a line whose net and tax don't sum to its gross"),
    (
        or_(
            quotes.c.total != _lines.c.gross + _shipping,
            quotes.c.net != _lines.c.net + quotes.c.shipping_net,
            quotes.c.tax != _lines.c.tax + quotes.c.shipping_tax,
        ),
        "is not what its lines and shipping sum to",
    ),
    (_lines.c.off > 0, "has a line that isn't its price less its discount"),
    (
        _is_off(
            quotes.c.shipping_price - quotes.c.shipping_discount, quotes.c.shipping_net, _shipping
        ),
        "has shipping that isn't its price less its discount",
    ),
)
_told = (
    select(
        orders.c.id.label("order_id"),
        quotes.c.total,
        _lines.c.gross,
        _shipping.label("shipping"),
        _fault.label("fault"),
    )
    .outerjoin(quotes, quotes.c.order_id == orders.c.id)
    .outerjoin(_lines, _lines.c.order_id == orders.c.id)
    .where(or_(past("price"), quotes.c.order_id.is_not(None)))
    .subquery()
)

RULE = Rule(
    name="quote_adds_up",
    sentence=(
        "Every priced order has a quote; its lines (price × quantity − discount) and shipping sum "
        "to it, to the minor unit."
    ),
    checked=count(quotes),
    broken=select(_told).where(_told.c.fault.is_not(None)),
    what="order {order_id} {fault}: total {total}, lines {gross}, shipping {shipping}",
)
