"""What is kept of an order is kept of one there is: no foreign key to orders guards that (tables.py).

What the archive took along must be gone with the order; the ledgers may name one that is archived.
"""

from typing import Any

from sqlalchemy import Select, Table, func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.archive import MOVED
from pipeline.storage.tables import archived_orders, metadata, orders

#: What a gateway tells of may be none of ours: there the order is null.
_kept = [table for table in metadata.sorted_tables if "order_id" in table.c]


def _orphans_of(table: Table) -> Select[Any]:
    orphans = (
        select(table.c.order_id, literal(table.name).label("kept"))
        .outerjoin(orders, orders.c.id == table.c.order_id)
        .where(orders.c.id.is_(None), table.c.order_id.is_not(None))
    )
    if table in MOVED:
        return orphans
    its = archived_orders.c.id == table.c.order_id
    return orphans.outerjoin(archived_orders, its).where(archived_orders.c.id.is_(None))


_orphans = union_all(*map(_orphans_of, _kept)).subquery("orphans")
_rows = [count(table).scalar_subquery() for table in _kept]

RULE = Rule(
    name="no_orphans",
    sentence="Whatever belongs to an order belongs to one that exists.",
    checked=select(sum(_rows[1:], start=_rows[0])),
    broken=(
        select(_orphans.c.order_id, _orphans.c.kept, func.count().label("times")).group_by(
            _orphans.c.order_id, _orphans.c.kept
        )
    ),
    what="{times} rows of {kept} are of order {order_id}, which doesn't exist",
)
