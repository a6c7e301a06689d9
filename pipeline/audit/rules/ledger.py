"""Every unit is accounted for: what is there is what came less what went."""

from sqlalchemy import func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import stock_levels, stock_movements

_nothing = literal(0)
# Both sides as rows of one table, so that a level without movements shows, and movements without level.
_sides = union_all(
    select(
        stock_levels.c.sku,
        stock_levels.c.location,
        stock_levels.c.on_hand.label("level"),
        _nothing.label("moved"),
    ),
    select(
        stock_movements.c.sku,
        stock_movements.c.location,
        _nothing.label("level"),
        stock_movements.c.quantity.label("moved"),
    ),
).subquery("sides")

RULE = Rule(
    name="ledger",
    sentence="Per SKU and location the movements sum to the units on hand.",
    checked=count(stock_levels),
    broken=(
        select(
            _sides.c.sku,
            _sides.c.location,
            func.sum(_sides.c.level).label("level"),
            func.sum(_sides.c.moved).label("moved"),
        )
        .group_by(_sides.c.sku, _sides.c.location)
        .having(func.sum(_sides.c.level) != func.sum(_sides.c.moved))
    ),
    what="{sku} at {location}: {level} on hand, the movements sum to {moved}",
)
