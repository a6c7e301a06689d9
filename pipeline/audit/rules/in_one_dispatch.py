"""An accepted order is never lost: as long as it is under way, one dispatch will bring it on."""

from sqlalchemy import func, or_, select

from pipeline.audit.parts import count, is_settled, memberships
from pipeline.audit.rule import Rule
from pipeline.storage.tables import orders

_found = memberships()
_times = func.count(_found.c.dispatch_id)
_step = func.min(_found.c.step)

RULE = Rule(
    name="in_one_dispatch",
    sentence="Every unsettled order is in exactly one dispatch, for the step it is at.",
    checked=count(orders, ~is_settled()),
    broken=(
        select(
            orders.c.id.label("order_id"),
            orders.c.status,
            orders.c.stage,
            _times.label("times"),
            _step.label("step"),
        )
        .outerjoin(_found, _found.c.order_id == orders.c.id)
        .where(~is_settled())
        .group_by(orders.c.id, orders.c.status, orders.c.stage)
        .having(or_(_times != 1, _step.is_distinct_from(orders.c.stage)))
    ),
    what="order {order_id} is {status} at {stage}, and in {times} dispatches (step: {step})",
)
