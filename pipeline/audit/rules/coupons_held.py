"""Who was promised a coupon's price uses the coupon, and none that wasn't priced in."""

from sqlalchemy import func, literal, select, true, union_all

from pipeline.audit.parts import count, past
from pipeline.audit.rule import Rule
from pipeline.storage.sql import words
from pipeline.storage.tables import coupon_redemptions, orders, quotes

_nothing = literal(0)
_code = words(quotes.c.coupons)
# Both sides as rows of one table, so that what is missing on either shows in the sums.
_sides = union_all(
    select(
        quotes.c.order_id,
        _code.c.value.label("code"),
        literal(1).label("priced"),
        _nothing.label("redeemed"),
    )
    .select_from(quotes.join(_code, true()))
    .where(quotes.c.coupons != "[]"),
    select(
        coupon_redemptions.c.order_id,
        coupon_redemptions.c.code,
        _nothing.label("priced"),
        literal(1).label("redeemed"),
    ),
).subquery("sides")

RULE = Rule(
    name="coupons_held",
    sentence="An order that is reserved or confirmed redeems exactly the coupons of its quote.",
    checked=count(orders, past("reserve")),
    broken=(
        select(
            _sides.c.order_id,
            _sides.c.code,
            func.sum(_sides.c.priced).label("priced"),
            func.sum(_sides.c.redeemed).label("redeemed"),
        )
        .join(orders, orders.c.id == _sides.c.order_id)
        .where(past("reserve"))
        .group_by(_sides.c.order_id, _sides.c.code)
        .having(func.sum(_sides.c.priced) != func.sum(_sides.c.redeemed))
    ),
    what="order {order_id} was priced with {priced} of coupon {code}, and redeems {redeemed}",
)
