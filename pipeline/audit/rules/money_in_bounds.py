"""No more is given back than was taken, no more taken than was promised."""

from sqlalchemy import func, or_, select

from pipeline.audit.parts import accounts, count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import archived_orders, quotes

_accounts = accounts()
_total = func.coalesce(quotes.c.total, archived_orders.c.total, 0)
_returned = _accounts.c.refunded + _accounts.c.lost

RULE = Rule(
    name="money_in_bounds",
    sentence="refunded ≤ captured ≤ authorized, lost in disputes ≤ captured, and what is kept is at "
    "most the order's total.",
    checked=count(_accounts),
    broken=(
        select(_accounts, _total.label("total"))
        .outerjoin(quotes, quotes.c.order_id == _accounts.c.order_id)
        .outerjoin(archived_orders, archived_orders.c.id == _accounts.c.order_id)
        .where(
            or_(
                _accounts.c.refunded > _accounts.c.captured,
                # What was refunded may be disputed all the same, and taken back twice: a loss.
                _accounts.c.lost > _accounts.c.captured,
                _accounts.c.captured > _accounts.c.authorized,
                _accounts.c.captured - _returned > _total,
            )
        )
    ),
    what=(
        "of order {order_id}, which costs {total}, {authorized} were authorized, {captured} "
        "captured, {refunded} refunded, {lost} lost"
    ),
)
