"""What happened at a gateway once has happened once here."""

from sqlalchemy import and_, distinct, func, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import gateway_events
from pipeline.storage.tables import payment_operations as ops

_is_foreign = and_(ops.c.key == ops.c.reference, ops.c.state == "succeeded")

RULE = Rule(
    name="one_effect_an_event",
    sentence="What was done at a gateway by someone else is an operation of one order.",
    checked=count(gateway_events),
    broken=(
        select(
            ops.c.gateway,
            ops.c.key,
            func.max(ops.c.order_id).label("order_id"),
            func.count(distinct(ops.c.order_id)).label("times"),
        )
        .where(_is_foreign)
        .group_by(ops.c.gateway, ops.c.key)
        .having(func.count(distinct(ops.c.order_id)) > 1)
    ),
    what="{key} of {gateway} is on {times} orders, the latest is {order_id}",
)
