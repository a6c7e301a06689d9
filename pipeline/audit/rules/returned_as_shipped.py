"""Nothing comes back that never left."""

from sqlalchemy import func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import return_lines, shipment_lines

_nothing = literal(0)
_sides = union_all(
    select(
        return_lines.c.order_id,
        return_lines.c.line_no,
        return_lines.c.sku,
        return_lines.c.units.label("returned"),
        _nothing.label("shipped"),
    ),
    select(
        shipment_lines.c.order_id,
        shipment_lines.c.line_no,
        shipment_lines.c.sku,
        _nothing,
        shipment_lines.c.units,
    ),
).subquery("sides")
_line = [_sides.c.order_id, _sides.c.sku, _sides.c.line_no]
_returned, _shipped = func.sum(_sides.c.returned), func.sum(_sides.c.shipped)

RULE = Rule(
    name="returned_as_shipped",
    sentence="Of a line no more units came back than were shipped.",
    checked=count(return_lines),
    broken=(
        select(*_line, _returned.label("returned"), _shipped.label("shipped"))
        .group_by(*_line)
        .having(_returned > _shipped)
    ),
    what="of line {line_no} of order {order_id}, {shipped} of {sku} were shipped, {returned} came back",
)
