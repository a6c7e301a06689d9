"""An order that is over for good has its money where it belongs: archiving moves none."""

from sqlalchemy import ColumnElement, FromClause, and_, case, exists, func, select

from pipeline.audit.parts import accounts, count, open_operations
from pipeline.audit.rule import Rule
from pipeline.order import OVER, Status
from pipeline.storage.tables import (
    archived_orders,
    cancelled_lines,
    coupon_redemptions,
    payment_tasks,
    reservations,
)

_accounts, _open = accounts(), open_operations()
_captured = func.coalesce(_accounts.c.captured, 0)
_kept = func.coalesce(_accounts.c.captured - _accounts.c.refunded - _accounts.c.lost, 0)
_unpaid = (
    select(func.coalesce(func.sum(cancelled_lines.c.unpaid), 0))
    .where(cancelled_lines.c.order_id == archived_orders.c.id)
    .scalar_subquery()
)
_due = archived_orders.c.total - _unpaid
# As captured_once: a claim that stands may have been taken in part, or not at all.
_is_claimed = and_(_captured < _due, _accounts.c.authorized == archived_orders.c.total)
_is_over = archived_orders.c.status.in_(sorted(OVER))
_is_confirmed = archived_orders.c.status == Status.CONFIRMED


def _is_of(table: FromClause) -> ColumnElement[bool]:
    return exists().where(table.c.order_id == archived_orders.c.id)


_fault = case(
    (
        and_(
            _is_confirmed,
            _captured != _due,
            ~func.coalesce(_is_claimed, False),
        ),
        "was not paid",
    ),
    (and_(_is_over, _kept > 0), "keeps what it captured"),
    (
        and_(_is_over, _accounts.c.authorized > 0, _captured == 0, _accounts.c.voids == 0),
        "keeps an authorization",
    ),
    (and_(_is_over, _is_of(coupon_redemptions)), "keeps a coupon"),
    (_is_of(reservations), "holds stock"),
    (_is_of(payment_tasks), "has a payment operation to be done"),
    (_is_of(_open), "left a payment operation open"),
)
_told = (
    select(
        archived_orders.c.id.label("order_id"), archived_orders.c.status, archived_orders.c.total,
        _captured.label("captured"), _kept.label("kept"), _fault.label("fault"),
    )
    .outerjoin(_accounts, _accounts.c.order_id == archived_orders.c.id)
    .subquery()
)  # fmt: skip

RULE = Rule(
    name="archive_is_paid",
    sentence="An archived order has captured its total, or holds nothing if it came to nothing; it "
    "waits for no money, goods or person.",
    checked=count(archived_orders),
    broken=select(_told).where(_told.c.fault.is_not(None)),
    what="archived order {order_id} is {status} and {fault} ({captured} captured of {total}, {kept} kept)",
)
