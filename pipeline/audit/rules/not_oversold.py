"""No unit is sold twice."""

from sqlalchemy import or_, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import stock_levels

RULE = Rule(
    name="not_oversold",
    sentence="0 ≤ reserved ≤ on_hand for every SKU and location.",
    checked=count(stock_levels),
    broken=select(stock_levels).where(
        or_(stock_levels.c.reserved < 0, stock_levels.c.reserved > stock_levels.c.on_hand)
    ),
    what="{sku} at {location}: {reserved} reserved of {on_hand} on hand",
)
