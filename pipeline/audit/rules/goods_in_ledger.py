"""What left, and what came back, is in the ledger: no unit goes without a trace."""

from sqlalchemy import func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import return_lines, returns, shipment_lines, stock_movements

_nothing = literal(0)
_moved = stock_movements.c
# Both sides as rows of one table, so that what is missing on either shows in the sums.
_sides = union_all(
    select(
        shipment_lines.c.sku,
        shipment_lines.c.location,
        literal("shipment").label("kind"),
        (-shipment_lines.c.units).label("units"),
        _nothing.label("moved"),
    ),
    select(
        return_lines.c.sku, returns.c.location, literal("return"), return_lines.c.units, _nothing
    )
    .join(returns, returns.c.id == return_lines.c.return_id)
    .where(returns.c.location.is_not(None)),
    select(_moved.sku, _moved.location, _moved.kind, _nothing, _moved.quantity).where(
        _moved.kind.in_(["shipment", "return"])
    ),
).subquery("sides")
_level = [_sides.c.sku, _sides.c.location, _sides.c.kind]
_units, _in_ledger = func.sum(_sides.c.units), func.sum(_sides.c.moved)

RULE = Rule(
    name="goods_in_ledger",
    sentence="Per SKU and location the ledger's shipments and returns are those of the orders.",
    checked=count(stock_movements, _moved.kind.in_(["shipment", "return"])),
    broken=(
        select(*_level, _units.label("units"), _in_ledger.label("moved"))
        .group_by(*_level)
        .having(_units != _in_ledger)
    ),
    what="{sku} at {location}: the orders' lines of kind {kind} sum to {units}, the ledger's to {moved}",
)
