"""Queues are measured by the sizes of their dispatches."""

from sqlalchemy import func, select

from pipeline.audit.parts import count, memberships
from pipeline.audit.rule import Rule
from pipeline.storage.tables import dispatches

_found = memberships()
_members = func.count(_found.c.order_id)

RULE = Rule(
    name="dispatch_size",
    sentence="A dispatch's size is the number of orders in it.",
    checked=count(dispatches),
    broken=(
        select(dispatches.c.id, dispatches.c.step, dispatches.c.size, _members.label("members"))
        .outerjoin(_found, _found.c.dispatch_id == dispatches.c.id)
        .group_by(dispatches.c.id, dispatches.c.step, dispatches.c.size)
        .having(_members != dispatches.c.size)
    ),
    what="dispatch {id} of {step} says that it holds {size} orders, and holds {members}",
)
