"""A promise is made and kept, or taken back, before witnesses."""

from pipeline.audit.parts import count, level_differences
from pipeline.audit.rule import Rule
from pipeline.storage.tables import stock_levels, stock_movements

RULE = Rule(
    name="promises_in_ledger",
    sentence="Per SKU and location what the movements promise sums to the units reserved.",
    checked=count(stock_levels),
    broken=level_differences(stock_levels.c.reserved, stock_movements.c.promised),
    what="{sku} at {location}: {total} reserved, the movements promise {rows}",
)
