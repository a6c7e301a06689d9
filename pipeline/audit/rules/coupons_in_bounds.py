"""No coupon is used more often than it may be."""

from sqlalchemy import or_, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import coupon_uses

RULE = Rule(
    name="coupons_in_bounds",
    sentence="0 ≤ uses ≤ the limit they had to keep to, for every coupon and customer.",
    checked=count(coupon_uses),
    broken=select(coupon_uses).where(
        or_(coupon_uses.c.used < 0, coupon_uses.c.used > coupon_uses.c.most)
    ),
    what="coupon {code} of {rules} (customer: {customer}) is used {used} times, {most} are allowed",
)
