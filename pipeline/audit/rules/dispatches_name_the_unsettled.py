"""What is over stays over: no dispatch brings a settled order back to work."""

from sqlalchemy import func, or_, select

from pipeline.audit.parts import count, is_settled, memberships
from pipeline.audit.rule import Rule
from pipeline.storage.tables import orders

_found = memberships()

RULE = Rule(
    name="dispatches_name_the_unsettled",
    sentence="No dispatch names an order that is settled or that doesn't exist.",
    checked=count(_found),
    broken=(
        select(
            _found.c.order_id,
            _found.c.dispatch_id,
            func.coalesce(orders.c.status, "unknown").label("status"),
        )
        .outerjoin(orders, orders.c.id == _found.c.order_id)
        .where(or_(orders.c.id.is_(None), is_settled()))
    ),
    what="dispatch {dispatch_id} names order {order_id}, which is {status}",
)
