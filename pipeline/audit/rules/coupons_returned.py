"""Uses that bring nobody anything are free for others."""

from sqlalchemy import or_, select

from pipeline.audit.parts import count, past
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import coupon_redemptions, orders

# One that waited may have been given its own a moment ago, all of it: backorders_queued.
_aside = [Status.BACKORDERED, Status.ON_HOLD, Status.CANCELLING]
_may_hold = or_(past("reserve"), orders.c.status.in_(_aside))

RULE = Rule(
    name="coupons_returned",
    sentence="An order that is rejected, cancelled or not yet at its stock redeems no coupon.",
    checked=count(orders, ~_may_hold),
    broken=(
        select(orders.c.id.label("order_id"), orders.c.status, coupon_redemptions.c.code)
        .join(coupon_redemptions, coupon_redemptions.c.order_id == orders.c.id)
        .where(~_may_hold)
    ),
    what="order {order_id} is {status} and redeems coupon {code}",
)
