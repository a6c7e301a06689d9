"""The archive is a move: an order is in its tables or in the archive."""

from typing import Any

from sqlalchemy import Select, and_, select, union

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import archived_orders, orders

_by_id = archived_orders.c.id == orders.c.id
_by_name = and_(
    archived_orders.c.source_id == orders.c.source_id,
    archived_orders.c.external_id == orders.c.external_id,
)


def _both(same: Any) -> Select[Any]:
    return select(
        orders.c.id.label("order_id"), archived_orders.c.id.label("archived"), orders.c.external_id
    ).join(archived_orders, same)


RULE = Rule(
    name="in_one_place",
    sentence="An order is live or archived, by its id and by what its source calls it.",
    checked=count(archived_orders),
    # Two joins: one on either condition could use no index.
    broken=union(_both(_by_id), _both(_by_name)).subquery("both").select(),
    what="order {order_id} ({external_id}) is live, and archived as {archived}",
)
