"""What the archive says of an order in its columns is what the order's own rows say, all of them."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, cast, func, literal, or_, select, true

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.audit.rules.timeline import faults
from pipeline.storage.sql import json_items, json_text
from pipeline.storage.tables import archived_orders

_body = archived_orders.c.body


def _said(table: str, column: str) -> ColumnElement[Any]:
    """What the body's first row of `table` has in `column`, as text."""
    return json_text(_body, table, 0, column)


def _number(text: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(text, BigInteger)


_item = json_items(json_text(_body, "events")).table_valued("value", name="item")
_events = (
    select(
        archived_orders.c.id.label("order_id"),
        _number(json_text(_item.c.value, "seq")).label("seq"),
        json_text(_item.c.value, "from_status").label("from_status"),
        json_text(_item.c.value, "to_status").label("to_status"),
    )
    .select_from(archived_orders.join(_item, true()))
    .subquery("archived_events")
)
_orders = select(
    archived_orders.c.id,
    archived_orders.c.status,
    _number(_said("orders", "version")).label("version"),
).subquery("archived")
_timeline = faults(_events, _orders)

_total = func.coalesce(archived_orders.c.total, -1)
_fault = case(
    (_number(_said("orders", "id")).is_distinct_from(archived_orders.c.id), "holds another order"),
    (_said("orders", "status").is_distinct_from(archived_orders.c.status), "has another status"),
    (
        or_(
            _said("order_documents", "digest").is_distinct_from(archived_orders.c.digest),
            *(
                _said("order_documents", key).is_distinct_from(archived_orders.c[key])
                for key in ("customer", "email_key")
            ),
        ),
        "has another document",
    ),
    (func.coalesce(_number(_said("quotes", "total")), -1) != _total, "has another total"),
    (_said("events", "seq").is_(None), "has no timeline"),
)
_rows = select(archived_orders.c.id.label("order_id"), _fault.label("fault")).subquery("rows")

RULE = Rule(
    name="archive_folds",
    sentence="An archived order's rows say what the archive says of it, and its timeline folds to it.",
    checked=count(archived_orders),
    broken=(
        select(_rows.c.order_id, _rows.c.fault)
        .where(_rows.c.fault.is_not(None))
        .union_all(
            select(
                _timeline.c.order_id,
                literal("has an event that ").concat(_timeline.c.fault),
            ).where(_timeline.c.fault.is_not(None))
        )
        .subquery("broken")
        .select()
    ),
    what="what is archived as order {order_id} {fault}",
)
