"""Payment operations: append-only; one row when asked for, one for what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, case, exists, func, select

from pipeline.payments.account import OBSERVED, Operation
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, now, pack, rows
from pipeline.storage.tables import events
from pipeline.storage.tables import payment_operations as ops
from pipeline.storage.upsert import InsertNew

_FIELDS = [
    "order_id", "key", "kind", "state", "amount", "currency", "gateway", "reference", "code",
]  # fmt: skip
_given = rows(*(ops.c[name] for name in _FIELDS))
_ADD = InsertNew(ops, [*_FIELDS, "at"], select(*_given.c, now()))
# After this nobody can claim the order for being paid any more; who claimed it before may be about
# to call the gateway still, however long ago the operation was asked for.
_undone_since = (
    select(func.max(events.c.at))
    .where(events.c.order_id == ops.c.order_id, events.c.kind.in_(["cancelled", "rejected"]))
    .scalar_subquery()
)
_READ = (
    select(
        *(ops.c[name] for name in _FIELDS),
        ops.c.at,
        _undone_since.label("undone_since"),
        now().label("now"),
    )
    .where(ops.c.order_id.in_(ids()))
    # Rows of one statement may have the same time: `requested` comes before what became of it, and
    # an authorization before the capture that was asked for along with it.
    .order_by(
        ops.c.order_id,
        ops.c.at,
        case((ops.c.state == "requested", 0), else_=1),
        case((ops.c.kind == "authorize", 0), else_=1),
        ops.c.key,
    )
)


def bounced(operation: FromClause) -> ColumnElement[bool]:
    """Whether a row of an operation is of a refund that the gateway was found to have given up: it
    counts for nothing, whatever else its rows say. As pipeline.payments.account.has_bounced."""
    given_up = ops.alias()
    return and_(
        operation.c.kind == "refund",
        exists(
            select(given_up.c.key).where(
                given_up.c.order_id == operation.c.order_id,
                given_up.c.key == operation.c.key,
                given_up.c.state == "failed",
                given_up.c.code == OBSERVED,
            )
        ),
    )


def read(tx: Tx, order_ids: Iterable[int]) -> dict[int, list[Operation]]:
    """The operations of orders by order id, in the order they were written."""
    found: dict[int, list[Operation]] = defaultdict(list)
    for r in tx.execute(_READ, {"ids": pack(order_ids)}):
        found[r.order_id].append(_operation(r))
    return found


def add(tx: Tx, operations: Sequence[Operation]) -> None:
    """Append. The same operation in the same state twice is once; whoever adds it first is waited for,
    and as everyone adds in the order of ids, nobody waits in a ring."""
    if not operations:
        return
    packed = pack(
        (o.order_id, o.key, o.kind, o.state, o.amount, o.currency, o.gateway, o.reference, o.code)
        for o in sorted(operations, key=attrgetter("order_id"))
    )
    _ADD(tx, {"rows": packed})


def _operation(row: Any) -> Operation:
    return Operation(
        row.order_id, row.key, row.kind, row.state, row.amount, row.currency, row.gateway,
        row.reference, row.code, row.at, (row.now - row.at).total_seconds(),
        None if row.undone_since is None else (row.now - row.undone_since).total_seconds(),
    )  # fmt: skip
