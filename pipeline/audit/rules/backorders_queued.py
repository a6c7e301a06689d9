"""Who waits is found by the stock that comes; who doesn't wait is in nobody's way."""

from sqlalchemy import exists, literal, not_, or_, select, union_all

from pipeline.audit.parts import count, memberships
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.sql import now
from pipeline.storage.tables import backorders, dispatches, orders

_waits = exists().where(backorders.c.order_id == orders.c.id)
#: One that is on hold there keeps its place, one that is being cancelled leaves it when undone.
_may_wait = orders.c.stage.in_(["reserve", "undo_reserve"])
# One that has all its units, or is to be refused, has left the queue: the stage is about to see it.
_members = memberships()
_has_its_turn = orders.c.id.in_(
    select(_members.c.order_id)
    .join(dispatches, dispatches.c.id == _members.c.dispatch_id)
    .where(
        _members.c.step == "reserve",
        or_(dispatches.c.due_at <= now(), dispatches.c.lease.is_not(None)),
    )
)

RULE = Rule(
    name="backorders_queued",
    sentence="Every backordered order waits for a SKU, or its turn has come; nobody past waits.",
    checked=count(orders, or_(orders.c.status == Status.BACKORDERED, _waits)),
    broken=union_all(
        select(orders.c.id.label("order_id"), orders.c.status, literal("nothing").label("how"))
        .where(orders.c.status == Status.BACKORDERED, ~_waits, ~_has_its_turn),
        select(orders.c.id, orders.c.status, literal("stock it won't take"))
        .where(_waits, or_(orders.c.stage.is_(None), not_(_may_wait))),
    ).subquery("breaches").select(),
    what="order {order_id} is {status} and waits for {how}",
)  # fmt: skip
