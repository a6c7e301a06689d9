"""Who was promised a coupon's price uses the coupon, and none that wasn't priced in."""

from sqlalchemy import and_, exists, func, literal, or_, select, true, union_all

from pipeline.audit.parts import count, past
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.sql import words
from pipeline.storage.tables import coupon_redemptions, orders, quotes, reservations

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

# One that waits for the rest has taken its coupons with its first unit.
_holds = exists().where(reservations.c.order_id == orders.c.id)
_has_its_own = or_(past("reserve"), and_(orders.c.status == Status.BACKORDERED, _holds))

RULE = Rule(
    name="coupons_held",
    sentence="An order that is reserved or confirmed, or has units while it waits for others, redeems "
    "exactly the coupons of its quote.",
    checked=count(orders, _has_its_own),
    broken=(
        select(
            _sides.c.order_id,
            _sides.c.code,
            func.sum(_sides.c.priced).label("priced"),
            func.sum(_sides.c.redeemed).label("redeemed"),
        )
        .join(orders, orders.c.id == _sides.c.order_id)
        .where(_has_its_own)
        .group_by(_sides.c.order_id, _sides.c.code)
        .having(func.sum(_sides.c.priced) != func.sum(_sides.c.redeemed))
    ),
    what="order {order_id} was priced with {priced} of coupon {code}, and redeems {redeemed}",
)
