"""Differences that a look at the stock found: kept, each once as long as it stands, and told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    update,
)

from pipeline.inventory.allocation import Level
from pipeline.inventory.movement import COUNT
from pipeline.storage.database import Tx
from pipeline.storage.gateway_book import at
from pipeline.storage.sql import pack, rows, texts
from pipeline.storage.tables import stock_differences as differences
from pipeline.storage.tables import stock_movements
from pipeline.storage.upsert import insert_into

ADJUSTED, REPORTED = "adjusted", "reported"


@dataclass(frozen=True, slots=True)
class Found:
    """A difference as it is found. `at` None: as of the look."""

    kind: str
    sku: str
    location: str
    of_order: int
    expected: int
    found: int
    at: datetime | None = None
    done: str = REPORTED
    feed: str | None = None


_given = rows(
    differences.c.kind, differences.c.sku, differences.c.location, differences.c.of_order,
    differences.c.expected, differences.c.found, differences.c.at, differences.c.done,
    differences.c.feed,
)  # fmt: skip
_NAMES = [column.key for column in _given.c]
_KEY = ["kind", "sku", "location", "of_order"]
_is_open = differences.c.cleared_at.is_(None)
_CLEAR_ADJUSTED = (
    update(differences)
    .where(_is_open, differences.c.seen_at >= at("read_at"), differences.c.done == ADJUSTED)
    .values(cleared_at=at("read_at"))
)


def keep(tx: Tx, found: Iterable[Found], read_at: datetime) -> None:
    """Write differences down, what was known already as seen again. One that was put right is cleared
    at once; a count older than the one that is known to differ says nothing new."""
    packed = pack(
        (
            d.kind,
            d.sku,
            d.location,
            d.of_order,
            d.expected,
            d.found,
            d.at or read_at,
            d.done,
            d.feed,
        )
        for d in found
    )
    insert = insert_into(tx, differences).from_select(
        [*_NAMES, "found_at", "seen_at"],
        # WHERE true: SQLite needs it to tell ON CONFLICT from a join's ON.
        select(_given, at("read_at"), at("read_at")).where(literal(True)),
    )
    again = {n: insert.excluded[n] for n in (*_NAMES, "seen_at") if n not in _KEY}
    # What was done about it once stays said, when it is only reported now.
    was_reported = insert.excluded.done == REPORTED
    again["done"] = case((was_reported, differences.c.done), else_=insert.excluded.done)
    statement = insert.on_conflict_do_update(
        index_elements=_KEY, index_where=_is_open, set_=again,
        where=insert.excluded.at >= differences.c.at,
    )  # fmt: skip
    tx.execute(statement, {"rows": packed, "read_at": read_at})
    tx.execute(_CLEAR_ADJUSTED, {"read_at": read_at})


_agreed = rows(differences.c.sku, differences.c.location, differences.c.at)
_CLEAR_COUNTS = (
    update(differences)
    .where(
        _is_open,
        differences.c.kind == COUNT,
        differences.c.sku == _agreed.c.sku,
        differences.c.location == _agreed.c.location,
        differences.c.at <= _agreed.c.at,
    )
    .values(cleared_at=at("read_at"))
)
_CLEAR_BOOKS = (
    update(differences)
    .where(_is_open, differences.c.kind != COUNT, differences.c.seen_at < at("read_at"))
    .values(cleared_at=at("read_at"))
)


def clear_counts(tx: Tx, agreed: Sequence[tuple[Level, datetime]], read_at: datetime) -> int:
    """These were counted at that time and agree with the books; how many had not, before."""
    packed = pack((*level, when) for level, when in agreed)
    return int(tx.execute(_CLEAR_COUNTS, {"rows": packed, "read_at": read_at}).rowcount)


def clear_books(tx: Tx, read_at: datetime) -> int:
    """All that the books differed in and the look at `read_at` did not find; how many."""
    return int(tx.execute(_CLEAR_BOOKS, {"read_at": read_at}).rowcount)


#: What a run that began then found: what it put right is cleared already.
_of_run = and_(differences.c.seen_at >= at("since"), or_(_is_open, differences.c.done == ADJUSTED))
_TALLY = (
    select(
        differences.c.kind,
        differences.c.done,
        func.count().label("differences"),
        func.sum(case((differences.c.found_at >= at("since"), 1), else_=0)).label("new"),
    )
    .where(_of_run)
    .group_by(differences.c.kind, differences.c.done)
    .order_by(differences.c.kind, differences.c.done)
)
_SEEN = (
    select(differences)
    .where(_of_run)
    .order_by(differences.c.kind, differences.c.sku, differences.c.location, differences.c.id)
)
_PAGE = (
    select(differences)
    .where(_of_run, differences.c.id > bindparam("after"))
    .order_by(differences.c.id)
    .limit(bindparam("most"))
)


def tally(tx: Tx, since: datetime) -> list[Any]:
    """What a run that began then found, by kind and what was done: how many, how many of them new."""
    return list(tx.execute(_TALLY, {"since": since}))


def seen(tx: Tx, since: datetime) -> Iterator[Any]:
    """Its differences, by the page."""
    yield from tx.execute(_SEEN.execution_options(yield_per=1_000), {"since": since})


def page(tx: Tx, since: datetime, after: int, most: int) -> list[Any]:
    """The next of them in order of their ids."""
    return list(tx.execute(_PAGE, {"since": since, "after": after, "most": most}))


# --- Evidence -------------------------------------------------------------------------------------

NEAR = timedelta(days=1)


@dataclass(slots=True)
class Evidence:
    """What else is known about a difference of so many units.

    `near`: a movement (kind, units, at) of just these, written within a day after the count, or with
    the opposite sign before. `mirror`: a location where as many are missing, or too many.
    `books_differ`: the level's ledger does; `reservations_differ`: they and what is reserved there
    do. `half`: units by which the SKU's transfers don't sum to
    nothing. `doubled`: a movement (kind, at) without which the ledger would agree. `order_id`: one
    that lacks its units of the SKU, or holds some that it may not.
    """

    near: tuple[str, int, datetime] | None = None
    mirror: str | None = None
    books_differ: bool = False
    reservations_differ: bool = False
    half: int = 0
    doubled: tuple[str, datetime] | None = None
    order_id: int | None = None


_units = Column("units", BigInteger)
_about = rows(
    Column("n", Integer), differences.c.sku, differences.c.location, differences.c.at, _units,
    Column("since", differences.c.at.type), Column("until", differences.c.at.type),
)  # fmt: skip
_moves = stock_movements
_is_its_level = and_(_moves.c.sku == _about.c.sku, _moves.c.location == _about.c.location)
_NEAR = (
    select(_about.c.n, _moves.c.kind, _moves.c.quantity, _moves.c.at)
    .join(_moves, _is_its_level)
    .where(
        _moves.c.kind != COUNT,
        _moves.c.at > _about.c.since,
        _moves.c.at <= _about.c.until,
        _moves.c.quantity
        == case((_moves.c.at > _about.c.at, _about.c.units), else_=-_about.c.units),
    )
    .order_by(_about.c.n, _moves.c.at.desc(), _moves.c.id)
)


def _without(units: Column[int]) -> Select[Any]:
    """Movements without which the sum of `units` would agree."""
    return (
        select(_about.c.n, _moves.c.kind, _moves.c.at)
        .join(_moves, and_(_is_its_level, units == -_about.c.units))
        .order_by(_about.c.n, _moves.c.at.desc(), _moves.c.id)
    )


_DOUBLED = {"ledger": _without(_moves.c.quantity), "promised": _without(_moves.c.promised)}
_RELATED = (
    select(
        _about.c.n, differences.c.kind, differences.c.location, differences.c.of_order,
        (differences.c.found - differences.c.expected + _about.c.units).label("left_over"),
        case((differences.c.location == _about.c.location, 1), else_=0).label("is_here"),
        case((_is_open, 1), else_=0).label("is_open"),
    )
    .join(differences, differences.c.sku == _about.c.sku)
    .where(differences.c.at > _about.c.since, differences.c.at <= _about.c.until)
    .order_by(_about.c.n, differences.c.id)
)  # fmt: skip
_HALVES = (
    select(_moves.c.sku, func.sum(_moves.c.quantity).label("units"))
    .where(_moves.c.kind == "transfer", _moves.c.sku.in_(texts("skus")))
    .group_by(_moves.c.sku)
)


def evidence(tx: Tx, of: Sequence[Any]) -> list[Evidence]:
    """What else is known about these differences (rows), in the order given."""
    found = [Evidence() for _ in of]
    about = pack(
        (n, d.sku, d.location, d.at, d.found - d.expected, d.at - NEAR, d.at + NEAR)
        for n, d in enumerate(of)
    )
    for n, kind, units, when in tx.execute(_NEAR, {"rows": about}):
        found[n].near = (kind, int(units), when)
    for other in tx.execute(_RELATED, {"rows": about}):
        _relate(found[other.n], other)
    for book, statement in _DOUBLED.items():
        if any(d.kind == book for d in of):
            for n, kind, when in tx.execute(statement, {"rows": about}):
                found[n].doubled = (kind, when) if of[n].kind == book else found[n].doubled
    if any(d.kind == "ledger" for d in of):
        skus = pack((sku,) for sku in {d.sku for d in of})
        halves = {r.sku: int(r.units) for r in tx.execute(_HALVES, {"skus": skus})}
        for d, known in zip(of, found, strict=True):
            known.half = halves.get(d.sku, 0)
    return found


def _relate(known: Evidence, other: Any) -> None:
    if other.kind == COUNT and not other.is_here and other.left_over == 0:
        known.mirror = other.location
    if other.kind == "ledger" and other.is_here and other.is_open:
        known.books_differ = True
    if other.kind == "reserved" and other.is_here and other.is_open:
        known.reservations_differ = True
    if other.of_order and other.is_open:
        known.order_id = other.of_order


_caused = rows(differences.c.id, differences.c.cause)
_EXPLAIN = update(differences).where(differences.c.id == _caused.c.id).values(cause=_caused.c.cause)


def explain(tx: Tx, causes: Sequence[tuple[int, str]]) -> None:
    """Write down the likely causes, by the differences' ids."""
    tx.execute(_EXPLAIN, {"rows": pack(causes)})
