"""An operation's rows tell one story: asked for first, then done or not done, never both.

What the gateway was found to have done when its payment was read (`observed`) needs no request,
and may contradict what we believed of it: money may come after we gave it up.
"""

from sqlalchemy import case, func, or_, select

from pipeline.audit.parts import count, units
from pipeline.audit.rule import Rule
from pipeline.payments.account import OBSERVED
from pipeline.storage.tables import payment_operations as ops

_is_said = func.coalesce(ops.c.code, "") != OBSERVED
_requested = units(1, ops.c.state == "requested")
_observed = units(1, ~_is_said)
_ends = units(1, ops.c.state.in_(["succeeded", "failed"]) & _is_said)
_kind, _currency = case((_is_said, ops.c.kind)), case((_is_said, ops.c.currency))
_amount = case((_is_said, ops.c.amount))
_differ = or_(
    func.min(_kind) != func.max(_kind),
    func.min(_amount) != func.max(_amount),
    func.min(_currency) != func.max(_currency),
)
_fault = case(
    ((_requested != 1) & (_observed == 0), "was never requested"),
    (_ends > 1, "both succeeded and failed"),
    (_differ, "ended as something else than was requested"),
)

RULE = Rule(
    name="operations_end_once",
    sentence="Every payment operation was requested before it was done, and ended at most once, "
    "unless the gateway was found to say otherwise.",
    checked=count(ops, ops.c.state == "requested"),
    broken=(
        select(ops.c.order_id, ops.c.key, func.min(ops.c.kind).label("kind"), _fault.label("fault"))
        .group_by(ops.c.order_id, ops.c.key)
        .having(_fault.is_not(None))
    ),
    what="{kind} {key} of order {order_id} {fault}",
)
