"""What moved in a window of time, by gateway, currency and kind: by our operations and by a gateway's
own list (gateway_book). All amounts in minor units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, not_, or_, select

from pipeline.payments.gateway import capture_key, void_key
from pipeline.storage.database import Tx
from pipeline.storage.gateway_book import at, book, is_known_in_window, is_listed_in_window
from pipeline.storage.payments import bounced
from pipeline.storage.tables import payment_operations as ops

#: The kinds of operations that move money, or move it back.
MOVES = ("capture", "refund", "dispute")

#: (gateway, currency, kind)
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Sum:
    """So many operations, and their amounts together."""

    count: int = 0
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Sums:
    """What the window holds: by our operations (`ours`), by the gateways' lists (`theirs`), in both
    but each in another window (`elsewhere_there`: ours is in this one; `elsewhere_here`: theirs is).
    `standing` is at the window's end: authorizations not captured or voided, open disputes. `fees`
    by gateway and currency, where the gateway tells any."""

    ours: Mapping[Key, Sum]
    standing: Mapping[Key, Sum]
    theirs: Mapping[Key, Sum]
    elsewhere_there: Mapping[Key, Sum]
    elsewhere_here: Mapping[Key, Sum]
    fees: Mapping[tuple[str, str], int]

    @property
    def told(self) -> Iterator[Key]:
        """All that anything is told of."""
        return chain(self.ours, self.standing, self.theirs)


_by_kind = (ops.c.gateway, ops.c.currency, ops.c.kind)
_number, _sum = func.count().label("number"), func.sum(ops.c.amount).label("amount")
_is_done = and_(ops.c.state == "succeeded", ops.c.kind.in_(MOVES), not_(bounced(ops)))
_OURS = select(*_by_kind, _number, _sum).where(_is_done, is_known_in_window).group_by(*_by_kind)

_then = ops.alias("then")


def _has_then(key: Any, *states: str) -> ColumnElement[bool]:
    """Whether the operation `key` of the same order was in one of these states by `until`."""
    return exists(
        select(_then.c.key).where(
            _then.c.order_id == ops.c.order_id,
            _then.c.key == key,
            _then.c.state.in_(states),
            _then.c.at < at("until"),
        )
    )


_stands = and_(
    ops.c.kind == "authorize",
    ops.c.state == "succeeded",
    not_(_has_then(ops.c.key + capture_key(""), "succeeded")),
    not_(_has_then(ops.c.key + void_key(""), "succeeded")),
)
_is_disputed = and_(
    ops.c.kind == "dispute",
    ops.c.state == "pending",
    not_(_has_then(ops.c.key, "succeeded", "failed")),
)
_OPEN = (
    select(*_by_kind, _number, _sum)
    .where(ops.c.at < at("until"), or_(_stands, _is_disputed))
    .group_by(*_by_kind)
)

_theirs_by_kind = (book.c.gateway, book.c.currency, book.c.kind)
_THEIRS = (
    select(
        *_theirs_by_kind,
        func.count().label("number"),
        func.sum(book.c.amount).label("amount"),
    )
    .where(is_listed_in_window, book.c.kind.in_(MOVES))
    .group_by(*_theirs_by_kind)
)

# At the edges: what we and the gateway both know of, each in another window.
_is_ours_in_window = and_(_is_done, is_known_in_window)
_ELSEWHERE_THERE = (
    select(*_by_kind, _number, _sum)
    .join(book, and_(book.c.key == ops.c.key, book.c.gateway == ops.c.gateway))
    .where(_is_ours_in_window, not_(is_listed_in_window))
    .group_by(*_by_kind)
)
_its = and_(ops.c.order_id == book.c.order_id, ops.c.key == book.c.key, _is_ours_in_window)
_ELSEWHERE_HERE = (
    select(*_theirs_by_kind, func.count().label("number"), func.sum(book.c.amount).label("amount"))
    .where(
        is_listed_in_window,
        book.c.kind.in_(MOVES),
        book.c.order_id.is_not(None),
        not_(exists(select(ops.c.key).where(_its))),
    )
    .group_by(*_theirs_by_kind)
)
_FEES = (
    select(book.c.gateway, book.c.currency, func.sum(book.c.fee).label("fees"))
    .where(is_listed_in_window, book.c.fee.is_not(None))
    .group_by(book.c.gateway, book.c.currency)
)


def read(tx: Tx, within: Mapping[str, Any]) -> Sums:
    """The sums of a window (the scope of a reconciliation), with the gateways' lists loaded."""
    return Sums(
        _sums(tx, _OURS, within),
        _sums(tx, _OPEN, within),
        _sums(tx, _THEIRS, within),
        _sums(tx, _ELSEWHERE_THERE, within),
        _sums(tx, _ELSEWHERE_HERE, within),
        {(r.gateway, r.currency): int(r.fees) for r in tx.execute(_FEES, within)},
    )


def _sums(tx: Tx, query: Select[Any], within: Mapping[str, Any]) -> dict[Key, Sum]:
    return {
        (r.gateway, r.currency, r.kind): Sum(r.number, int(r.amount))
        for r in tx.execute(query, within)
    }
