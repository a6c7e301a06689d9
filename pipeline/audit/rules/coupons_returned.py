"""Uses that bring nobody anything are free for others."""

from sqlalchemy import and_, exists, or_, select

from pipeline.audit.parts import at, count, past
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import coupon_redemptions, orders, reservations

_aside = [Status.ON_HOLD, Status.CANCELLING]
_holds = exists().where(reservations.c.order_id == orders.c.id)
_may_hold = or_(
    past("reserve"),
    orders.c.status.in_(_aside),
    and_(at("reserve"), _holds),  # coupons are taken with the first unit
)

RULE = Rule(
    name="coupons_returned",
    sentence="An order that is rejected, cancelled or has no stock yet redeems no coupon.",
    checked=count(orders, ~_may_hold),
    broken=(
        select(orders.c.id.label("order_id"), orders.c.status, coupon_redemptions.c.code)
        .join(coupon_redemptions, coupon_redemptions.c.order_id == orders.c.id)
        .where(~_may_hold)
    ),
    what="order {order_id} is {status} and redeems coupon {code}",
)
