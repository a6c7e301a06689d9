"""Who pays gets the goods: all of them, and no more."""

from typing import Any

from sqlalchemy import Column, Select, Table, func, literal, select, union_all

from pipeline.audit.parts import count, past
from pipeline.audit.rule import Rule
from pipeline.storage.tables import (
    cancelled_lines,
    order_lines,
    orders,
    reservations,
    shipment_lines,
)

_nothing = literal(0)


def _has(table: Table, units: Column[int]) -> Select[Any]:
    its = table.c
    return select(
        its.order_id, its.line_no, its.sku, _nothing.label("ordered"), units.label("held")
    )


# Both sides as rows of one table, so that what is missing on either shows in the sums.
_sides = union_all(
    select(
        order_lines.c.order_id,
        order_lines.c.line_no,
        order_lines.c.sku,
        order_lines.c.quantity.label("ordered"),
        _nothing.label("held"),
    ),
    _has(reservations, reservations.c.quantity),
    _has(shipment_lines, shipment_lines.c.units),
    _has(cancelled_lines, cancelled_lines.c.units),
).subquery("sides")

RULE = Rule(
    name="stock_held",
    sentence="An order that is reserved or confirmed holds exactly what its lines say, but for what "
    "was shipped, or cancelled after part was.",
    checked=count(orders, past("reserve")),
    broken=(
        select(
            _sides.c.order_id,
            _sides.c.sku,
            _sides.c.line_no,
            func.sum(_sides.c.ordered).label("ordered"),
            func.sum(_sides.c.held).label("held"),
        )
        .join(orders, orders.c.id == _sides.c.order_id)
        .where(past("reserve"))
        .group_by(_sides.c.order_id, _sides.c.line_no, _sides.c.sku)
        .having(func.sum(_sides.c.ordered) != func.sum(_sides.c.held))
    ),
    what="line {line_no} of order {order_id} wants {ordered} of {sku}, and holds {held} (or they were "
    "shipped, or cancelled)",
)
