"""Nobody is charged twice, nobody gets it for nothing."""

from sqlalchemy import and_, case, exists, func, or_, select

from pipeline.audit.parts import accounts, count, open_operations, past
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import cancelled_lines, orders, quotes

# Of those on hold or being cancelled nothing is known but what money_in_bounds asks; those that
# are over without goods hold nothing, which is a rule of its own.
_is_on_its_way = orders.c.status.not_in(
    [Status.ON_HOLD, Status.CANCELLING, Status.CANCELLED, Status.REJECTED]
)
_accounts, _open = accounts(), open_operations()
_captured = func.coalesce(_accounts.c.captured, 0)
# Lines that were cancelled before they were paid for, as the rest had been shipped.
_unpaid = (
    select(func.coalesce(func.sum(cancelled_lines.c.unpaid), 0))
    .where(cancelled_lines.c.order_id == orders.c.id)
    .scalar_subquery()
)
_due = case((past("pay"), quotes.c.total - _unpaid), else_=0)
# Where money is taken later (by policy, or by hand), the claim on it stands, and nothing is open
# that could have taken it: one capture, of all or part, was made or is yet to be asked for.
_is_taken_later = and_(
    past("pay"),
    _captured < _due,
    _accounts.c.authorized == quotes.c.total,
    ~exists().where(_open.c.order_id == orders.c.id, _open.c.kind == "capture"),
)
# The gateway may have told of the money before its stage did.
_is_being_paid = and_(orders.c.stage == "pay", _captured <= quotes.c.total)

RULE = Rule(
    name="captured_once",
    sentence="An order's total, less what was cancelled unpaid, is captured, once, when it is paid (or authorized, to be captured "
    "later, in all or part), and nothing before.",
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
        .where(
            _is_on_its_way,
            or_(_due.is_(None), _captured != _due),
            ~func.coalesce(or_(_is_taken_later, _is_being_paid), False),
        )
    ),
    what="order {order_id} is {status}: {captured} were captured, {due} are due",
)
