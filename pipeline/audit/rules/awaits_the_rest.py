"""Who waits is whole once it has what it waits for: no unit too few, none twice."""

from typing import Any

from sqlalchemy import Column, Select, func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import backorders, order_lines, reservations

_SIDES = ("ordered", "held", "awaited")
_nothing = literal(0)
_waiting = select(backorders.c.order_id)


def _units(units: Column[int], side: str) -> Select[Any]:
    its = units.table.c
    named = (units if name == side else _nothing for name in _SIDES)
    columns = [column.label(name) for column, name in zip(named, _SIDES, strict=True)]
    return select(its.order_id, its.sku, *columns).where(its.order_id.in_(_waiting))


# All sides as rows of one table, so that what is missing on any shows in the sums.
_sides = union_all(
    _units(order_lines.c.quantity, "ordered"),
    _units(reservations.c.quantity, "held"),
    _units(backorders.c.units, "awaited"),
).subquery("sides")
_ordered, _held, _awaited = (func.sum(_sides.c[n]) for n in _SIDES)

RULE = Rule(
    name="awaits_the_rest",
    sentence="Who waits for stock waits, of each SKU, for just the units that it doesn't hold.",
    checked=count(backorders),
    broken=(
        select(
            _sides.c.order_id, _sides.c.sku, _ordered.label("ordered"), _held.label("held"),
            _awaited.label("awaited"),
        )
        .group_by(_sides.c.order_id, _sides.c.sku)
        .having(_ordered != _held + _awaited)
    ),
    what="order {order_id} wants {ordered} of {sku}, holds {held} and waits for {awaited}",
)  # fmt: skip
