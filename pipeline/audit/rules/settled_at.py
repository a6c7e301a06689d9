"""When an order was settled is what ages, expiry and archiving go by."""

from sqlalchemy import or_, select

from pipeline.audit.parts import count, is_settled
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import orders

RULE = Rule(
    name="settled_at",
    sentence="An order has a time at which it was settled if, and only if, it is settled; "
    "and one since when it is on hold, if it is.",
    checked=count(orders),
    broken=select(
        orders.c.id.label("order_id"), orders.c.status, orders.c.settled_at, orders.c.held_at
    ).where(
        or_(
            is_settled() != orders.c.settled_at.is_not(None),
            (orders.c.status == Status.ON_HOLD) != orders.c.held_at.is_not(None),
        )
    ),
    what="order {order_id} is {status}, and was settled at {settled_at}, held at {held_at}",
)
