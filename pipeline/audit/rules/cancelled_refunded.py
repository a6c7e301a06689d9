"""Who is not sent a part of his order doesn't pay for it."""

from sqlalchemy import and_, exists, func, or_, select

from pipeline.audit.parts import accounts, count
from pipeline.audit.rule import Rule
from pipeline.payments.gateways import by_hand
from pipeline.storage.tables import cancelled_lines, payment_tasks, quotes
from pipeline.storage.tables import payment_operations as ops

_accounts = accounts()
_kept = _accounts.c.captured - _accounts.c.refunded - _accounts.c.lost
_of = (
    select(
        cancelled_lines.c.order_id,
        func.sum(cancelled_lines.c.amount).label("amount"),
        func.sum(cancelled_lines.c.units).label("units"),
    )
    .group_by(cancelled_lines.c.order_id)
    .subquery("of")
)
_is_returning = exists().where(payment_tasks.c.order_id == _of.c.order_id)
# A person was called: what failed or bounced, what is paid by hand, what was disputed meanwhile.
_is_a_persons = exists().where(
    ops.c.order_id == _of.c.order_id,
    or_(
        and_(ops.c.kind == "refund", ops.c.state == "failed"),
        ops.c.kind == "dispute",
        ops.c.gateway.in_(by_hand()),
    ),
)
_due = quotes.c.total - _of.c.amount

RULE = Rule(
    name="cancelled_refunded",
    sentence="What was paid for lines cancelled after part was shipped is refunded, or a task or a "
    "person is to do it.",
    checked=count(cancelled_lines),
    broken=(
        select(_of.c.order_id, _of.c.units, _kept.label("kept"), _due.label("due"))
        .join(quotes, quotes.c.order_id == _of.c.order_id)
        .join(_accounts, _accounts.c.order_id == _of.c.order_id)
        .where(_kept > _due, ~_is_returning, ~_is_a_persons)
    ),
    what="of order {order_id} {units} units were cancelled, so that it costs {due}: {kept} were kept",
)
