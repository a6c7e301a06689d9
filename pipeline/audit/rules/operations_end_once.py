"""An operation's rows tell one story: asked for first, then done or not done, never both."""

from sqlalchemy import case, func, or_, select

from pipeline.audit.parts import count, units
from pipeline.audit.rule import Rule
from pipeline.storage.tables import payment_operations as ops

_requested = units(1, ops.c.state == "requested")
_ends = units(1, ops.c.state.in_(["succeeded", "failed"]))
_differ = or_(
    func.min(ops.c.kind) != func.max(ops.c.kind),
    func.min(ops.c.amount) != func.max(ops.c.amount),
    func.min(ops.c.currency) != func.max(ops.c.currency),
)
_fault = case(
    (_requested != 1, "was never requested"),
    (_ends > 1, "both succeeded and failed"),
    (_differ, "ended as something else than was requested"),
)

RULE = Rule(
    name="operations_end_once",
    sentence="Every payment operation was requested before it was done, and ended at most once.",
    checked=count(ops, ops.c.state == "requested"),
    broken=(
        select(ops.c.order_id, ops.c.key, func.min(ops.c.kind).label("kind"), _fault.label("fault"))
        .group_by(ops.c.order_id, ops.c.key)
        .having(_fault.is_not(None))
    ),
    what="{kind} {key} of order {order_id} {fault}",
)
