"""Our operations beside a gateway's own list (gateway_book): what differs, and what was found so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    union_all,
    update,
)

from pipeline.storage.database import Tx
from pipeline.storage.gateway_book import (
    MomentOf,
    at,
    book,
    is_known_in_window,
    is_listed_in_window,
    micros,
)
from pipeline.storage.payments import bounced
from pipeline.storage.tables import payment_differences as differences
from pipeline.storage.tables import payment_operations as ops
from pipeline.storage.upsert import insert_into

# What statements bind: `gateway`; the window [`since`, `until`), also in `…_micros`; `read_at`,
# when the reading of the list began, by the database's clock.


def scope(gateway: str, since: datetime, until: datetime, read_at: datetime) -> dict[str, Any]:
    return {
        "of_gateway": gateway,
        "since": since,
        "until": until,
        "since_micros": micros(since),
        "until_micros": micros(until),
        "read_at": read_at,
    }


#: Each key that the gateway lists in the window, once.
_lines = (
    select(
        book.c.key,
        func.min(book.c.order_id).label("order_id"),
        func.min(book.c.kind).label("kind"),
        func.min(book.c.amount).label("amount"),
        func.min(book.c.currency).label("currency"),
        func.max(case((is_listed_in_window, book.c.at), else_=None)).label("at"),
        func.count().label("times"),
    )
    .where(book.c.gateway == bindparam("of_gateway"))
    .group_by(book.c.key)
    .having(func.max(case((is_listed_in_window, 1), else_=0)) == 1)
    .subquery("lines")
)
_requested, _waiting = ops.alias("requested"), ops.alias("waiting")
_done, _refused = ops.alias("done"), ops.alias("refused")
#: A refund takes days at some banks, and is listed from its first.
_is_on_its_way = and_(_waiting.c.key.is_not(None), _lines.c.kind == "refund")


def _is_its(operation: Any, state: str) -> ColumnElement[bool]:
    return and_(
        operation.c.order_id == _lines.c.order_id,
        operation.c.key == _lines.c.key,
        operation.c.state == state,
    )


_kind_of_line = case(
    (_lines.c.order_id.is_(None), "missing_here"),
    (_lines.c.times > 1, "missing_here"),  # listed once more than we know of
    (and_(_done.c.key.is_(None), ~_is_on_its_way), "ended_differently"),
    (_done.c.kind != _lines.c.kind, "ended_differently"),
    (_done.c.currency != _lines.c.currency, "currency"),
    # A void gives back whatever stood: no money moves, and gateways name one amount or another.
    (and_(_done.c.amount != _lines.c.amount, _lines.c.kind != "void"), "amount"),
)


def _ours(name: str) -> ColumnElement[Any]:
    """What we say of a line's operation last."""
    rows = (_done, _refused, _waiting, _requested)
    return func.coalesce(*(row.c[name] for row in rows)).label(f"our_{name}")


_their_differences = (
    select(
        bindparam("of_gateway", type_=String).label("gateway"),
        _kind_of_line.label("kind"),
        _lines.c.order_id,
        _lines.c.key,
        func.coalesce(MomentOf(_lines.c.at), at("read_at")).label("at"),
        _ours("kind"),
        _ours("state"),
        _ours("amount"),
        _ours("currency"),
        _lines.c.kind.label("their_kind"),
        _lines.c.amount.label("their_amount"),
        _lines.c.currency.label("their_currency"),
        cast(_lines.c.times, Integer).label("times"),
    )
    .outerjoin(_requested, _is_its(_requested, "requested"))
    .outerjoin(_done, and_(_is_its(_done, "succeeded"), ~bounced(_done)))
    .outerjoin(_refused, _is_its(_refused, "failed"))
    .outerjoin(_waiting, _is_its(_waiting, "pending"))
    .where(_kind_of_line.is_not(None))
)
#: What we say was done in the window.
_is_ours = and_(
    ops.c.gateway == bindparam("of_gateway"),
    ops.c.state == "succeeded",
    ~bounced(ops),
    is_known_in_window,
)
_is_not_listed = ~select(book.c.key).where(
    book.c.key == ops.c.key, book.c.gateway == ops.c.gateway
).exists()  # fmt: skip
_our_differences = (
    select(
        ops.c.gateway,
        literal("missing_there").label("kind"),
        func.min(ops.c.order_id).label("order_id"),
        ops.c.key,
        func.min(ops.c.at).label("at"),
        func.min(ops.c.kind).label("our_kind"),
        func.min(ops.c.state).label("our_state"),
        func.min(ops.c.amount).label("our_amount"),
        func.min(ops.c.currency).label("our_currency"),
        cast(null(), String).label("their_kind"),
        cast(null(), BigInteger).label("their_amount"),
        cast(null(), String).label("their_currency"),
        literal(0).label("times"),
    )
    .where(_is_ours, _is_not_listed)
    .group_by(ops.c.gateway, ops.c.key)
)
_found = union_all(_their_differences, _our_differences).subquery("found")
_FIELDS = [column.key for column in _found.c]

_of_order = ops.alias("of_order")
_FIRST_ASKED = select(func.min(_of_order.c.at)).where(
    _of_order.c.order_id.in_(select(ops.c.order_id).where(_is_ours, _is_not_listed))
)


def first_asked(tx: Tx, within: Mapping[str, Any]) -> datetime | None:
    """Of the orders that have an operation of the window which is not listed: when anything was
    first asked of a gateway. Nothing of theirs can be on its list from before. None: all are listed.
    """
    first: datetime | None = tx.execute(_FIRST_ASKED, within).scalar_one()
    return first


def counted(tx: Tx, within: Mapping[str, Any]) -> tuple[int, int]:
    """How many operations of ours, and how many lines of the list, the window holds."""
    ours = select(func.count()).select_from(ops).where(_is_ours)
    theirs = select(func.count()).select_from(_lines)
    return tx.execute(ours, within).scalar_one(), tx.execute(theirs, within).scalar_one()


_is_open = and_(
    differences.c.gateway == bindparam("of_gateway"), differences.c.cleared_at.is_(None)
)
# A line that is none of ours belongs, if it does to any, to the order whose payment it is about.
_authorization = ops.alias("authorization")
_FIND_BY_PAYMENT = (
    update(differences)
    .where(
        _is_open,
        differences.c.order_id.is_(None),
        differences.c.key == book.c.key,
        _authorization.c.gateway == bindparam("of_gateway"),
        _authorization.c.reference == book.c.parent,
        _authorization.c.kind == "authorize",
    )
    .values(order_id=_authorization.c.order_id)
)
_IS_ANY_UNKNOWN = select(
    exists(select(differences.c.id).where(_is_open, differences.c.order_id.is_(None)))
)
_CLEAR = (
    update(differences)
    .where(
        _is_open,
        differences.c.at >= at("since"),
        differences.c.at < at("until"),
        differences.c.seen_at < at("read_at"),
    )
    .values(cleared_at=at("read_at"))
)


def keep(tx: Tx, within: Mapping[str, Any]) -> int:
    """Write what differs down, what was known already as seen again; clear what of the window is
    no longer found. Returns how many were cleared."""
    insert = insert_into(tx, differences).from_select(
        [*_FIELDS, "found_at", "seen_at"],
        # WHERE true: SQLite needs it to tell ON CONFLICT from a join's ON.
        select(_found, at("read_at"), at("read_at")).where(literal(True)),
    )
    again = {n: insert.excluded[n] for n in (*_FIELDS, "seen_at") if n not in _KEY}
    tx.execute(
        insert.on_conflict_do_update(
            index_elements=_KEY, index_where=differences.c.cleared_at.is_(None), set_=again
        ),
        within,
    )
    if tx.execute(_IS_ANY_UNKNOWN, within).scalar_one():
        tx.execute(_FIND_BY_PAYMENT, within)
    return int(tx.execute(_CLEAR, within).rowcount)


_KEY = ["gateway", "key", "kind"]
_SEEN = (
    select(differences)
    .where(_is_open, differences.c.seen_at >= at("read_at"))
    .order_by(differences.c.at, differences.c.id)
)


def seen(tx: Tx, within: Mapping[str, Any]) -> Iterator[Any]:
    """The differences that the run which began at `read_at` found, oldest first, by the page."""
    yield from tx.execute(_SEEN.execution_options(yield_per=1_000), within)


_TALLY = (
    select(
        differences.c.kind,
        func.count().label("differences"),
        func.sum(case((differences.c.found_at == at("read_at"), 1), else_=0)).label("new"),
    )
    .where(_is_open, differences.c.seen_at >= at("read_at"))
    .group_by(differences.c.kind)
    .order_by(differences.c.kind)
)


def tally(tx: Tx, within: Mapping[str, Any]) -> list[Any]:
    """Of those differences, by kind: how many, and how many were not known before."""
    return list(tx.execute(_TALLY, within))


_OLDEST: Select[Any] = select(func.min(differences.c.at)).where(_is_open)


def oldest(tx: Tx, gateway: str) -> datetime | None:
    """When the oldest difference happened that is not cleared yet."""
    at: datetime | None = tx.execute(_OLDEST, {"of_gateway": gateway}).scalar_one()
    return at
