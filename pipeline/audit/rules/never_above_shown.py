"""What was shown is what is charged: never more."""

from sqlalchemy import BigInteger, cast, func, or_, select, union_all

from pipeline.audit.parts import accounts, count
from pipeline.audit.rule import Rule
from pipeline.storage.sql import json_text
from pipeline.storage.tables import archived_orders, order_documents, quotes

_accounts = accounts()
_in_the_archive = json_text(archived_orders.c.body, order_documents.name, 0, "total_shown")
_stated = union_all(
    select(
        order_documents.c.order_id,
        order_documents.c.total_shown.label("shown"),
        quotes.c.total,
    )
    .outerjoin(quotes, quotes.c.order_id == order_documents.c.order_id)
    .where(order_documents.c.total_shown.is_not(None)),
    select(archived_orders.c.id, cast(_in_the_archive, BigInteger), archived_orders.c.total).where(
        _in_the_archive.is_not(None)
    ),
).subquery("stated")
_kept = func.coalesce(_accounts.c.captured - _accounts.c.refunded - _accounts.c.lost, 0)

RULE = Rule(
    name="never_above_shown",
    sentence="An order that states its total costs no more, and no more is kept of it.",
    checked=count(_stated),
    broken=(
        select(
            _stated.c.order_id,
            _stated.c.shown,
            func.coalesce(_stated.c.total, 0).label("total"),
            _kept.label("kept"),
        )
        .outerjoin(_accounts, _accounts.c.order_id == _stated.c.order_id)
        .where(or_(_stated.c.total > _stated.c.shown, _kept > _stated.c.shown))
    ),
    what="order {order_id} states a total of {shown}, costs {total}, and {kept} are kept of it",
)
