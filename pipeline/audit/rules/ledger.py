"""Every unit is accounted for: what is there is what came less what went."""

from pipeline.audit.parts import count, level_differences
from pipeline.audit.rule import Rule
from pipeline.storage.tables import stock_levels, stock_movements

RULE = Rule(
    name="ledger",
    sentence="Per SKU and location the movements sum to the units on hand.",
    checked=count(stock_levels),
    broken=level_differences(stock_levels.c.on_hand, stock_movements.c.quantity),
    what="{sku} at {location}: {total} on hand, the movements sum to {rows}",
)
