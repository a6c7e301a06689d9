"""First accepted, first served: by the ledger, which tells every unit that was ever promised."""

from sqlalchemy import BigInteger, case, cast, func, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import backorders, stock_movements

_queue = (
    select(
        backorders.c.sku,
        func.min(backorders.c.movement).label("movement"),
    )
    .group_by(backorders.c.sku)
    .subquery("queue")
)
# The case: other kinds of movements may have another reference, which no database should read.
_promised = (
    select(
        stock_movements.c.id, stock_movements.c.sku, stock_movements.c.promised.label("units"),
        case(
            (
                stock_movements.c.kind == "reservation",
                cast(func.substr(stock_movements.c.reference, len("order ") + 1), BigInteger),
            )
        ).label("later"),
    )
    .join(_queue, _queue.c.sku == stock_movements.c.sku)
    .where(stock_movements.c.kind == "reservation", stock_movements.c.id > _queue.c.movement)
    .subquery("promised")
)  # fmt: skip
_overtaken = (
    select(func.min(backorders.c.order_id))
    .where(
        backorders.c.sku == _promised.c.sku,
        backorders.c.order_id < _promised.c.later,
        backorders.c.movement < _promised.c.id,
    )
    .scalar_subquery()
)
_given = select(
    _overtaken.label("order_id"), _promised.c.sku, _promised.c.units, _promised.c.later
).subquery("given")

RULE = Rule(
    name="nobody_overtaken",
    sentence="While an order waits for a SKU, no order accepted later gets a unit of it.",
    checked=count(backorders),
    broken=select(_given).where(_given.c.order_id.is_not(None)),
    what="order {later} got {units} of {sku}, for which order {order_id} has waited, accepted earlier",
)
