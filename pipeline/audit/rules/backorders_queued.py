"""Who waits is found by the stock that comes; who doesn't wait is in nobody's way."""

from sqlalchemy import exists, literal, not_, or_, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import backorders, orders, reservations

_waits = exists().where(backorders.c.order_id == orders.c.id)
_holds = exists().where(reservations.c.order_id == orders.c.id)
#: One that is on hold there keeps its place, one that is being cancelled leaves it when undone.
_may_wait = orders.c.stage.in_(["reserve", "undo_reserve"])

RULE = Rule(
    name="backorders_queued",
    sentence="Every backordered order waits for a SKU or has its units, never both; nobody past waits.",
    checked=count(orders, or_(orders.c.status == Status.BACKORDERED, _waits)),
    broken=union_all(
        select(orders.c.id.label("order_id"), orders.c.status, literal("nothing").label("how"))
        .where(orders.c.status == Status.BACKORDERED, ~_waits, ~_holds),
        select(orders.c.id, orders.c.status, literal("stock it has"))
        .where(_waits, _holds),
        select(orders.c.id, orders.c.status, literal("stock it won't take"))
        .where(_waits, ~_holds, or_(orders.c.stage.is_(None), not_(_may_wait))),
    ).subquery("breaches").select(),
    what="order {order_id} is {status} and waits for {how}",
)  # fmt: skip
