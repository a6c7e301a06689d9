"""Nobody is sent more than was ordered, or anything of an order that doesn't stand."""

from sqlalchemy import and_, case, func, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import order_lines, orders, shipment_lines

_shipped = func.sum(shipment_lines.c.units)
_ordered = func.coalesce(func.max(order_lines.c.quantity), 0)
_fault = case(
    (_shipped > _ordered, "too many"),
    (func.min(orders.c.status) != Status.CONFIRMED, "none may be"),
)
_its_line = and_(
    order_lines.c.order_id == shipment_lines.c.order_id,
    order_lines.c.line_no == shipment_lines.c.line_no,
    order_lines.c.sku == shipment_lines.c.sku,
)

RULE = Rule(
    name="shipped_as_ordered",
    sentence="Of a line no more units are shipped than were ordered, and only of confirmed orders.",
    checked=count(shipment_lines),
    broken=(
        select(
            shipment_lines.c.order_id,
            shipment_lines.c.sku,
            shipment_lines.c.line_no,
            func.min(orders.c.status).label("status"),
            _shipped.label("shipped"),
            _ordered.label("ordered"),
            _fault.label("fault"),
        )
        .join(orders, orders.c.id == shipment_lines.c.order_id)
        .outerjoin(order_lines, _its_line)
        .group_by(shipment_lines.c.order_id, shipment_lines.c.line_no, shipment_lines.c.sku)
        .having(_fault.is_not(None))
    ),
    what="of line {line_no} of order {order_id}, {status}, {shipped} of {ordered} {sku} were shipped: "
    "{fault}",
)
