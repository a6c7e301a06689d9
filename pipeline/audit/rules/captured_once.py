"""Nobody is charged twice, nobody gets it for nothing."""

from sqlalchemy import and_, case, func, or_, select

from pipeline.audit.parts import accounts, count, past
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import orders, quotes

# Of those on hold or being cancelled nothing is known but what money_in_bounds asks; those that
# are over without goods hold nothing, which is a rule of its own.
_is_on_its_way = orders.c.status.not_in(
    [Status.ON_HOLD, Status.CANCELLING, Status.CANCELLED, Status.REJECTED]
)
_accounts = accounts()
_captured = func.coalesce(_accounts.c.captured, 0)
_due = case((past("pay"), quotes.c.total), else_=0)

RULE = Rule(
    name="captured_once",
    sentence="An order's total is captured, once, when it is paid, and nothing before.",
    checked=count(orders, _is_on_its_way),
    broken=(
        select(
            orders.c.id.label("order_id"),
            orders.c.status,
            _captured.label("captured"),
            _due.label("due"),
        )
        .outerjoin(quotes, quotes.c.order_id == orders.c.id)
        .outerjoin(_accounts, _accounts.c.order_id == orders.c.id)
        .where(and_(_is_on_its_way, or_(_due.is_(None), _captured != _due)))
    ),
    what="order {order_id} is {status}: {captured} were captured, {due} are due",
)
