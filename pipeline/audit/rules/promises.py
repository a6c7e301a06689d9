"""Units promised are promised to somebody."""

from pipeline.audit.parts import count, level_differences
from pipeline.audit.rule import Rule
from pipeline.storage.tables import reservations, stock_levels

RULE = Rule(
    name="promises",
    sentence="Per SKU and location the reservations sum to the units reserved.",
    checked=count(stock_levels),
    broken=level_differences(stock_levels.c.reserved, reservations.c.quantity),
    what="{sku} at {location}: {total} reserved, the orders' reservations sum to {rows}",
)
