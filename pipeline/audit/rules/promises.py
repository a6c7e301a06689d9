"""Units promised are promised to somebody."""

from sqlalchemy import func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import reservations, stock_levels

_nothing = literal(0)
# Both sides as rows of one table, so that a level without reservations shows, and reservations without level.
_sides = union_all(
    select(
        stock_levels.c.sku,
        stock_levels.c.location,
        stock_levels.c.reserved.label("level"),
        _nothing.label("promised"),
    ),
    select(
        reservations.c.sku,
        reservations.c.location,
        _nothing.label("level"),
        reservations.c.quantity.label("promised"),
    ),
).subquery("sides")

RULE = Rule(
    name="promises",
    sentence="Per SKU and location the reservations sum to the units reserved.",
    checked=count(stock_levels),
    broken=(
        select(
            _sides.c.sku,
            _sides.c.location,
            func.sum(_sides.c.level).label("level"),
            func.sum(_sides.c.promised).label("promised"),
        )
        .group_by(_sides.c.sku, _sides.c.location)
        .having(func.sum(_sides.c.level) != func.sum(_sides.c.promised))
    ),
    what="{sku} at {location}: {level} reserved, the orders' reservations sum to {promised}",
)
