"""What is kept of an order is kept of one there is: no foreign key to orders guards that (tables.py)."""

from sqlalchemy import func, literal, select, union_all

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.tables import metadata, orders

#: What a gateway tells of may be none of ours: there the order is null.
_kept = [table for table in metadata.sorted_tables if "order_id" in table.c]
_orphans = union_all(
    *(
        select(table.c.order_id, literal(table.name).label("kept"))
        .outerjoin(orders, orders.c.id == table.c.order_id)
        .where(orders.c.id.is_(None), table.c.order_id.is_not(None))
        for table in _kept
    )
).subquery("orphans")
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
