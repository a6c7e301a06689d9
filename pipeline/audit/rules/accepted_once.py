"""The same order sent twice is one order."""

from sqlalchemy import func, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import orders

RULE = Rule(
    name="accepted_once",
    sentence="A source's external id names one order.",
    checked=count(orders),
    broken=(
        select(
            func.max(orders.c.id).label("order_id"),
            orders.c.source_id,
            orders.c.external_id,
            func.count().label("times"),
        )
        .group_by(orders.c.source_id, orders.c.external_id)
        .having(func.count() > 1)
    ),
    what="{times} orders of source {source_id} are {external_id}, the latest is {order_id}",
)
