"""Which orders a caller may look at and act on: his source's, as they were when he saw them."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from pipeline.errors import UnknownOrder
from pipeline.storage import orders, views
from pipeline.storage.database import Tx
from web.api.orders_told import etag_of, matches
from web.callers import Caller
from web.problems import Refusal


def visible(tx: Tx, caller: Caller, order_id: int) -> None:
    """UnknownOrder, unless the caller may see it."""
    source_id = views.source_of(tx, order_id)
    if source_id is None:
        raise UnknownOrder(order_id)
    caller.require(order_id, source_id)


def lock(tx: Tx, caller: Caller, order_id: int, if_match: str | None = None) -> Any:
    """The order's row, locked, if the caller may see it and it is as he saw it."""
    row = orders.lock(tx, order_id)
    caller.require(order_id, row.source_id)
    require_version(row, if_match)
    return row


def lock_all(tx: Tx, caller: Caller, order_ids: Collection[int]) -> None:
    """Lock these orders, if the caller may see them all."""
    rows = orders.lock_all(tx, order_ids)
    for order_id in sorted(set(order_ids)):
        if order_id not in rows:
            raise UnknownOrder(order_id)
        caller.require(order_id, rows[order_id].source_id)


def require_version(row: Any, if_match: str | None) -> None:
    """Refusal, unless the order is as he saw it."""
    if if_match is not None and not matches(if_match, row.version):
        raise Refusal(
            HTTPStatus.PRECONDITION_FAILED, "version-passed",
            f"order {row.id} has the ETag {etag_of(row.version)} by now",
        )  # fmt: skip
