"""Uses counted are uses by somebody."""

from sqlalchemy import func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.pricing.redemption import EVERYONE
from pipeline.storage.tables import coupon_redemptions, coupon_uses

_nothing = literal(0)
_redeemed = [coupon_redemptions.c.rules, coupon_redemptions.c.code]
_one = [_nothing.label("used"), literal(1).label("redeemed")]
# Both sides as rows of one table, so that a count without redemptions shows, and redemptions that
# aren't counted: for all, and under each key that the customer is known by.
_sides = union_all(
    select(
        coupon_uses.c.rules,
        coupon_uses.c.code,
        coupon_uses.c.customer,
        coupon_uses.c.used.label("used"),
        _nothing.label("redeemed"),
    ),
    select(*_redeemed, literal(EVERYONE).label("customer"), *_one),
    *(
        select(*_redeemed, key, *_one).where(key != EVERYONE)
        for key in (coupon_redemptions.c.customer, coupon_redemptions.c.email_key)
    ),
).subquery("sides")
_key = [_sides.c.rules, _sides.c.code, _sides.c.customer]

RULE = Rule(
    name="coupons_counted",
    sentence="A coupon is used as often, by all and by each customer, as orders redeem it.",
    checked=count(coupon_uses),
    broken=(
        select(
            *_key,
            func.sum(_sides.c.used).label("used"),
            func.sum(_sides.c.redeemed).label("redeemed"),
        )
        .group_by(*_key)
        .having(func.sum(_sides.c.used) != func.sum(_sides.c.redeemed))
    ),
    what="coupon {code} of {rules} (customer: {customer}) counts {used} uses, {redeemed} orders redeem it",
)
