"""Who gets nothing pays nothing."""

from sqlalchemy import and_, case, exists, func, select

from pipeline.audit.parts import accounts, count
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import orders
from pipeline.storage.tables import payment_operations as ops

_is_over = orders.c.status.in_([Status.CANCELLED, Status.REJECTED])
_accounts = accounts()
_end = ops.alias("ended")
# One that was asked for and never ended may have happened: nobody looks after it any more.
_open = exists().where(
    ops.c.order_id == orders.c.id,
    ops.c.state == "requested",
    ~exists().where(
        _end.c.order_id == ops.c.order_id,
        _end.c.key == ops.c.key,
        _end.c.state.in_(["succeeded", "failed"]),
    ),
)
_fault = case(
    (_accounts.c.captured > _accounts.c.refunded, "keeps what it captured"),
    (
        and_(_accounts.c.authorized > 0, _accounts.c.captured == 0, _accounts.c.voids == 0),
        "keeps an authorization",
    ),
    (_open, "left a payment operation open"),
)
_told = (
    select(
        orders.c.id.label("order_id"),
        orders.c.status,
        (func.coalesce(_accounts.c.captured - _accounts.c.refunded, 0)).label("kept"),
        _fault.label("fault"),
    )
    .outerjoin(_accounts, _accounts.c.order_id == orders.c.id)
    .where(_is_over)
    .subquery()
)

RULE = Rule(
    name="money_returned",
    sentence="A cancelled or rejected order holds no money: all is refunded or voided.",
    checked=count(orders, _is_over),
    broken=select(_told).where(_told.c.fault.is_not(None)),
    what="order {order_id} is {status} and {fault} ({kept} kept)",
)
