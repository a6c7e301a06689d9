"""Every cent that was let off has a promotion, or a total that was shown, that let it off."""

from sqlalchemy import BigInteger, String, cast, func, literal, or_, select, true, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.sql import json_items, json_members
from pipeline.storage.tables import order_lines, quotes

_nothing = literal(0)
_step = json_items(quotes.c.steps).table_valued("value", name="step")
_share = json_members(_step.c.value, "shares").table_valued("key", "value", name="share")
# Both sides as rows of one table, so that what is missing on either shows in the sums.
_sides = union_all(
    select(
        order_lines.c.order_id,
        cast(order_lines.c.line_no, String).label("place"),
        order_lines.c.discount.label("discount"),
        _nothing.label("explained"),
    ),
    select(
        quotes.c.order_id,
        literal("shipping").label("place"),
        quotes.c.shipping_discount.label("discount"),
        _nothing.label("explained"),
    ),
    select(
        quotes.c.order_id,
        cast(_share.c.key, String).label("place"),
        _nothing.label("discount"),
        cast(_share.c.value, BigInteger).label("explained"),
    )
    .select_from(quotes.join(_step, true()).join(_share, true()))
    .where(
        or_(
            quotes.c.steps.contains('"step":"promotion"'),
            quotes.c.steps.contains('"step":"shown"'),
        )
    ),
).subquery("sides")

RULE = Rule(
    name="discounts_explained",
    sentence="The discounts of lines and shipping are what the steps of the quote say.",
    checked=count(quotes),
    broken=(
        select(
            _sides.c.order_id,
            _sides.c.place,
            func.sum(_sides.c.discount).label("discount"),
            func.sum(_sides.c.explained).label("explained"),
        )
        .group_by(_sides.c.order_id, _sides.c.place)
        .having(func.sum(_sides.c.discount) != func.sum(_sides.c.explained))
    ),
    what="line {place} of order {order_id} is {discount} off, the steps explain {explained}",
)
