"""Units that nobody will get are free for others."""

from sqlalchemy import func, or_, select

from pipeline.audit.parts import at, count, past
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import orders, reservations

# One that waits, or comes back from a hold, keeps what there is of its units: awaits_the_rest.
_aside = [Status.ON_HOLD, Status.CANCELLING]
_may_hold = or_(past("reserve"), at("reserve"), orders.c.status.in_(_aside))

RULE = Rule(
    name="stock_returned",
    sentence="An order that is rejected, cancelled or not yet at its stock holds no stock.",
    checked=count(orders, ~_may_hold),
    broken=(
        select(
            orders.c.id.label("order_id"),
            orders.c.status,
            func.sum(reservations.c.quantity).label("held"),
        )
        .join(reservations, reservations.c.order_id == orders.c.id)
        .where(~_may_hold)
        .group_by(orders.c.id, orders.c.status)
    ),
    what="order {order_id} is {status} and holds {held} units",
)
