"""What the gateway says was done, we say too: no charge that nobody here knows of."""

from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, func, or_, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.order import ENDED, OVER
from pipeline.storage.gateway_book import book
from pipeline.storage.tables import archived_orders, orders, payment_tasks
from pipeline.storage.tables import payment_operations as ops

_lines = (
    select(
        book.c.gateway,
        book.c.key,
        func.min(book.c.order_id).label("order_id"),
        func.min(book.c.kind).label("kind"),
        func.min(book.c.amount).label("amount"),
        func.max(book.c.at).label("at"),
        func.min(book.c.reference).label("reference"),
        func.count().label("times"),
    )
    .group_by(book.c.gateway, book.c.key)
    .subquery("lines")
)
_done, _refused = ops.alias("done"), ops.alias("refused")


def _is_its(operation: Any, state: str) -> ColumnElement[bool]:
    return and_(
        operation.c.order_id == _lines.c.order_id,
        operation.c.key == _lines.c.key,
        operation.c.state == state,
    )


_status = func.coalesce(orders.c.status, archived_orders.c.status)
# Requested, or unknown: someone will ask, be it the step an order is at, the person it is held
# for, or who does its task after the sale.
_will_be_asked_for = or_(
    _status.not_in(sorted(ENDED)),
    exists().where(
        payment_tasks.c.order_id == _lines.c.order_id, payment_tasks.c.key == _lines.c.key
    ),
)
# Done there by others a moment ago: their own operation, or money for an order that is over.
_is_news = and_(
    _lines.c.at >= bindparam("news_since"),
    or_(
        and_(_lines.c.order_id.is_(None), _lines.c.key == _lines.c.reference),
        and_(
            _status.in_(sorted(OVER)),
            _lines.c.kind.in_(["authorize", "capture"]),
        ),
    ),
)
_fault = case(
    (_lines.c.times > 1, "in the book more than once"),
    (_done.c.key.is_not(None), None),
    (_is_news, None),
    (_lines.c.order_id.is_(None), "none of our operations"),
    (_refused.c.key.is_not(None), "one that we say failed"),
    (~_will_be_asked_for, "one whose outcome nobody will ask for"),
)
_told = (
    select(_lines, _status.label("status"), _fault.label("fault"))
    .outerjoin(_done, _is_its(_done, "succeeded"))
    .outerjoin(_refused, _is_its(_refused, "failed"))
    .outerjoin(orders, orders.c.id == _lines.c.order_id)
    .outerjoin(archived_orders, archived_orders.c.id == _lines.c.order_id)
    .subquery()
)

RULE = Rule(
    name="book_is_ours",
    sentence="Every line of a gateway's book is an operation of ours that succeeded, or that will "
    "be asked for.",
    checked=count(book),
    broken=select(_told).where(_told.c.fault.is_not(None)),
    what="{kind} {key} over {amount} in the book is {fault} (order {order_id}, {status})",
)
