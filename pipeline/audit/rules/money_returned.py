"""Who gets nothing pays nothing."""

from sqlalchemy import and_, case, exists, func, select

from pipeline.audit.parts import accounts, count, open_operations
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import orders, payment_tasks

_is_over = orders.c.status.in_([Status.CANCELLED, Status.REJECTED])
_accounts, _open = accounts(), open_operations()
_kept = func.coalesce(_accounts.c.captured - _accounts.c.refunded - _accounts.c.lost, 0)
# Money that came late, and is on its way back.
_is_returning = exists().where(payment_tasks.c.order_id == orders.c.id)
_fault = case(
    (_is_returning, None),
    (_kept > 0, "keeps what it captured"),
    (
        and_(_accounts.c.authorized > 0, _accounts.c.captured == 0, _accounts.c.voids == 0),
        "keeps an authorization",
    ),
    (exists().where(_open.c.order_id == orders.c.id), "left a payment operation open"),
)
_told = (
    select(
        orders.c.id.label("order_id"), orders.c.status, _kept.label("kept"), _fault.label("fault")
    )
    .outerjoin(_accounts, _accounts.c.order_id == orders.c.id)
    .where(_is_over)
    .subquery()
)

RULE = Rule(
    name="money_returned",
    sentence="A cancelled or rejected order holds no money: all is refunded or voided, or a task "
    "says that it is to be.",
    checked=count(orders, _is_over),
    broken=select(_told).where(_told.c.fault.is_not(None)),
    what="order {order_id} is {status} and {fault} ({kept} kept)",
)
