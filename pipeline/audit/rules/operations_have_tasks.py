"""What was asked for after the sale will be done, or is known to have failed."""

from sqlalchemy import select

from pipeline.audit.parts import count, open_operations
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import orders

_open = open_operations()
_is_confirmed = orders.c.status == Status.CONFIRMED

RULE = Rule(
    name="operations_have_tasks",
    sentence="Every open payment operation of a confirmed order has the task that will end it.",
    checked=count(orders, _is_confirmed),
    broken=(select(_open).join(orders, orders.c.id == _open.c.order_id).where(_is_confirmed)),
    what="{kind} {key} over {amount} of order {order_id} is open, and nobody will do it",
)
